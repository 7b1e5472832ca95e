-- Counts a failed call of an entry of :dns_configs:, and keeps its error.
-- KEYS   1: failures (hash)
-- ARGV   1: field of the count   2: field of the error   3: field of its time   4: now   5: the error, on one line
--        6: seconds for which the failures are kept
-- RETURN the failures in a row
local failures = KEYS[1]
local count_field, error_field, time_field, now, error_line, kept_seconds = unpack(ARGV)

local count = (tonumber(redis.call('HGET', failures, count_field) or 0) or 0) + 1
redis.call('HSET', failures, count_field, count, error_field, error_line, time_field, now)
redis.call('EXPIRE', failures, kept_seconds)
return count
