#!lua flags=allow-oom
-- Count a failed login in each of its counters. A counter expires `seconds` after its first failure, and once more after the one
-- that reaches its limit. It also works when Redis is out of memory, and when somebody left another value or no expiry.
-- KEYS   1…: the counters (strings)
-- ARGV   for each of them: 1: its limit   2: its seconds
-- RETURN milliseconds until the counters that were over their limits are gone; 0 if there were none
local wait = 0
for i = 1, #KEYS do
  local counter, limit, milliseconds = KEYS[i], tonumber(ARGV[2 * i - 1]), 1000 * tonumber(ARGV[2 * i])
  local failures = (tonumber(redis.call('GET', counter) or 0) or 0) + 1
  local left = redis.call('PTTL', counter)
  if failures <= 1 or failures == limit or left <= 0 or left > milliseconds then left = milliseconds end
  redis.call('SET', counter, string.format('%d', math.min(failures, limit + 1)), 'PX', left)
  if failures > limit then wait = math.max(wait, left) end
end
return wait
