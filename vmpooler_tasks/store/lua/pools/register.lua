-- Register a pool for VMPooler's API server. It is written only where it differs. It has not left the configuration.
-- KEYS   1: registered pools (set)   2: the pool's settings (hash)   3: removed pools (hash)
-- ARGV   1: pool   2...: field, value, field, value, ... of its settings
-- RETURN 1 if something changed, else 0
local pools, settings, removed = KEYS[1], KEYS[2], KEYS[3]
local pool = ARGV[1]

local changed = redis.call('SADD', pools, pool)
redis.call('HDEL', removed, pool)
local same = redis.call('HLEN', settings) == (#ARGV - 1) / 2
for i = 2, #ARGV, 2 do
  same = same and redis.call('HGET', settings, ARGV[i]) == ARGV[i + 1]
end
if same then return changed end
redis.call('DEL', settings)
for i = 2, #ARGV, 2 do redis.call('HSET', settings, ARGV[i], ARGV[i + 1]) end
return 1
