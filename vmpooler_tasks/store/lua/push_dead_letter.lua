#!lua flags=allow-oom
-- uses: push
-- One dead letter, unless the same failure was reported before; also when Redis is out of memory: it is kept nowhere else.
-- KEYS   1: dead letters (zset)   2: ids seen (zset id -> epoch)   3: counters
-- ARGV   1: queue   2: now   3: seconds to keep   4: most entries   5: id   6: member
-- RETURN {1 if new else 0, dropped, expired}
local now, ttl = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZCARD', KEYS[1])  -- keys of the wrong type are refused before anything is written
redis.call('HLEN', KEYS[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. (now - ttl))
if redis.call('ZADD', KEYS[2], 'NX', math.floor(now), ARGV[5]) == 0 then return {0, 0, 0} end
redis.call('EXPIRE', KEYS[2], math.ceil(ttl))
local most = tonumber(ARGV[4])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - 10 * most)  -- all queues share it; a storm of failures must not fill Redis
local dropped, expired = push_letters(KEYS[1], KEYS[3], ARGV[1], now, ttl, most, {math.floor(now), ARGV[6]})
return {1, dropped, expired}
