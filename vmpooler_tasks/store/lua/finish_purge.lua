#!lua flags=allow-oom
-- Records how a purge ended, for the health check and the audit; also when Redis is out of memory.
-- KEYS   1: purge state (hash)   2: audit (stream)   3: counters
-- ARGV   1: most audit entries   2: counter   3: count of state words   4…: state field, value, …
--        then: audit field, value, …
-- RETURN nothing
local words = tonumber(ARGV[3])
redis.call('HSET', KEYS[1], unpack(ARGV, 4, 3 + words))
redis.pcall('HINCRBY', KEYS[3], ARGV[2], 1)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 4 + words))
return redis.status_reply('OK')
