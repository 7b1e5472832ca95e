-- uses: requests/status
-- Takes a new request up: its clones are queued, and it is being filled from now on.
-- KEYS   1: requests waiting   2: requests being filled   3: items   4: the request
--        5: when requests were made (zset request -> epoch)
-- ARGV   1: request   2: its `requested`, as it was read   3: epoch before which that is forgotten   4…: items
-- RETURN 1; 0 if it was taken up, answered or changed meanwhile
if redis.call('HGET', KEYS[4], 'requested') ~= ARGV[2] or answer_to(KEYS[4]) then return 0 end
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score then return 0 end
redis.call('ZADD', KEYS[5], score, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', ARGV[3])
for i = 4, #ARGV do redis.call('ZADD', KEYS[3], score, ARGV[i]) end
redis.call('ZADD', KEYS[2], score, ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
