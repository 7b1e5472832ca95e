#!lua flags=allow-oom
-- Records how a purge ended, for the health check and the audit; also while Redis is out of memory.
-- KEYS   1: purge state (hash)   2: audit (stream)   3: counters
-- ARGV   1: maximum of audit entries   2: counter   3: counter of cycles as long as this one ('' for a part of a cycle)
--        4: counter of seconds   5: seconds that it took   6: count of state values
--        7…: state field, value, …   then: audit field, value, …
-- RETURN nothing
local state, audit, counters = KEYS[1], KEYS[2], KEYS[3]
local max_audit_entries, counter, bucket = ARGV[1], ARGV[2], ARGV[3]
local seconds_counter, seconds, state_values = ARGV[4], ARGV[5], tonumber(ARGV[6])
redis.call('HSET', state, unpack(ARGV, 7, 6 + state_values))
redis.pcall('HINCRBY', counters, counter, 1)
if bucket ~= '' then
  redis.pcall('HINCRBY', counters, bucket, 1)
  redis.pcall('HINCRBYFLOAT', counters, seconds_counter, seconds)
end
redis.call('XADD', audit, 'MAXLEN', '~', max_audit_entries, '*', unpack(ARGV, 7 + state_values))
return redis.status_reply('OK')
