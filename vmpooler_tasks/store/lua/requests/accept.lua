-- uses: requests/status
-- Accepts a waiting request: queues its items, and moves it to the requests being filled.
-- KEYS   1: requests waiting   2: requests being filled   3: items   4: the request
--        5: creation times of requests (zset request -> epoch)
-- ARGV   1: request   2: its `requested`, as it was read   3: epoch before which creation times are forgotten   4…: items
-- RETURN 1; 0 if it was accepted, closed or changed meanwhile
local waiting, filling, items, request, requested_at = unpack(KEYS)
local id, requested, forgotten_before = ARGV[1], ARGV[2], ARGV[3]

if redis.call('HGET', request, 'requested') ~= requested or final_status(request) then return 0 end
local score = redis.call('ZSCORE', waiting, id)
if not score then return 0 end
redis.call('ZADD', requested_at, score, id)
redis.call('ZREMRANGEBYSCORE', requested_at, '-inf', forgotten_before)
for i = 4, #ARGV do redis.call('ZADD', items, score, ARGV[i]) end
redis.call('ZADD', filling, score, id)
redis.call('ZREM', waiting, id)
return 1
