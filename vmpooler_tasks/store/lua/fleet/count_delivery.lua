-- uses: redis/numbers
-- Counts one more delivery of a task. A count that is no number starts anew.
-- KEYS   1: deliveries (hash: task -> count)
-- ARGV   1: task   2: seconds that the counts are kept
-- RETURN the count
local deliveries = KEYS[1]
local task, kept_seconds = ARGV[1], ARGV[2]

local count = add_to_count(deliveries, task, 1)
redis.call('EXPIRE', deliveries, kept_seconds)
return count
