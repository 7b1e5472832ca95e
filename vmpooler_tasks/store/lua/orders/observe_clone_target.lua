-- Compares the clone target in force with the one of the last inspection. Records it, unless the pool must be drained first.
-- A VM of the pool that another manager made ready shows that this manager was in charge: what it applied is not known.
-- KEYS   1: applied clone targets (hash)   2: last boots (hash)   3: last boots by these workers (hash)
-- ARGV   1: pool   2: clone target in force ('' for none)   3: 1 if the API has set it
-- RETURN same, first_seen, moved (the configuration has another), or drain (the API has set another)
local applied, last_boots, own_boots = unpack(KEYS)
local pool, target, is_override = unpack(ARGV)

local known, last_boot = redis.call('HGET', applied, pool), redis.call('HGET', last_boots, pool)
if last_boot and last_boot ~= redis.call('HGET', own_boots, pool) then
  redis.call('HSET', own_boots, pool, last_boot)
  if known ~= target then known = false end
end
if known == target then return 'same' end
if known and is_override == '1' then return 'drain' end
redis.call('HSET', applied, pool, target)
return known and 'moved' or 'first_seen'
