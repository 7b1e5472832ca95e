#!lua flags=allow-oom
-- Records how a purge ended, for the health check and the audit; also when Redis is out of memory.
-- KEYS   1: purge state (hash)   2: audit (stream)   3: counters
-- ARGV   1: most audit entries   2: counter   3: counter of cycles as long as this one ('' if it was no whole cycle)
--        4: seconds that it took   5: count of state words   6…: state field, value, …   then: audit field, value, …
-- RETURN nothing
local words = tonumber(ARGV[5])
redis.call('HSET', KEYS[1], unpack(ARGV, 6, 5 + words))
redis.pcall('HINCRBY', KEYS[3], ARGV[2], 1)
if ARGV[3] ~= '' then
  redis.pcall('HINCRBY', KEYS[3], ARGV[3], 1)
  redis.pcall('HINCRBYFLOAT', KEYS[3], 'purge_seconds', ARGV[4])
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 6 + words))
return redis.status_reply('OK')
