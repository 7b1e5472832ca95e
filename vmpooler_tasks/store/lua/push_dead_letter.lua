#!lua flags=allow-oom
-- uses: push
-- One dead letter, unless the same failure was reported before; also when Redis is out of memory: it is kept nowhere else.
-- KEYS   1: dead letters (zset)   2: ids seen (zset id -> epoch)   3: counters
-- ARGV   1: queue   2: now   3: seconds to keep   4: most entries   5: id   6: member
-- RETURN {1 if new else 0, dropped, expired}
local now, ttl = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. (now - ttl))
if redis.call('ZSCORE', KEYS[2], ARGV[5]) then return {0, 0, 0} end
local most = tonumber(ARGV[4])
-- First: a failure is remembered as reported only once its letter is there.
local dropped, expired = push_letters(KEYS[1], KEYS[3], ARGV[1], now, ttl, most, {math.floor(now), ARGV[6]})
redis.call('ZADD', KEYS[2], math.floor(now), ARGV[5])
redis.call('EXPIRE', KEYS[2], math.ceil(ttl))
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - 10 * most)  -- all queues share it; a storm must not fill Redis
return {1, dropped, expired}
