-- Counts one more delivery of a task. A count that is no number starts anew.
-- KEYS   1: deliveries (hash: task -> count)
-- ARGV   1: task   2: seconds that the counts are kept
-- RETURN the count
local deliveries = KEYS[1]
local task, kept_seconds = ARGV[1], ARGV[2]

local count = redis.pcall('HINCRBY', deliveries, task, 1)
if type(count) ~= 'number' then
  redis.call('HSET', deliveries, task, 1)
  count = 1
end
redis.call('EXPIRE', deliveries, kept_seconds)
return count
