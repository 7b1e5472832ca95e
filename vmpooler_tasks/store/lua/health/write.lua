#!lua flags=allow-oom
-- Writes a verdict and its history as one step; also when Redis is out of memory, which is when it is needed.
-- KEYS   1: vmpooler__health   2: history (zset)   3: our own state (hash)
-- ARGV   1: now   2: seconds until the verdict expires   3: oldest epoch kept in the history   4: most kept
--        5: history entry   6: count of state words   7…: state field, value, …   then: health field, value, …
-- RETURN nothing
local words = tonumber(ARGV[6])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 7 + words))
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[1], ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[3])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[4]))
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[3], unpack(ARGV, 7, 6 + words))
return redis.status_reply('OK')
