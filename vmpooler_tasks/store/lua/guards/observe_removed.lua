-- uses: redis/numbers
-- Record which pools are in no configuration now, each with the time since which that holds.
-- KEYS   1: removed pools (hash: pool -> since and seen)
-- ARGV   1: seconds without an observation after which the time starts anew   2...: the pools
-- RETURN the number of pools
local removed = KEYS[1]
local max_gap = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

local current = {}
for i = 2, #ARGV do current[ARGV[i]] = true end
for _, pool in ipairs(redis.call('HKEYS', removed)) do
  if not current[pool] then redis.call('HDEL', removed, pool) end
end
for pool in pairs(current) do
  local since, seen = string.match(redis.call('HGET', removed, pool) or '', '^(%S+) (%S+)$')
  since, seen = number_of(since), number_of(seen)
  if not since or not seen or math.abs(now - seen) > max_gap then since = now end
  redis.call('HSET', removed, pool, string.format('%.3f %.3f', since, now))
end
return #ARGV - 1
