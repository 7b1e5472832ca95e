-- uses: count
-- Fails an on-demand request that nobody fills any more, unless it got an answer meanwhile.
-- KEYS   1: the request (hash)   2: requests waiting (zset)   3: requests being filled (zset)   4: counters
-- ARGV   1: request id   2: reason   3: seconds to keep the request
-- RETURN 1 if it was failed
local status = redis.call('HGET', KEYS[1], 'status')
if status == 'ready' or status == 'failed' or status == 'deleted' then return 0 end
local removed = 0
for i = 2, 3 do
  local count = redis.pcall('ZREM', KEYS[i], ARGV[1])  -- a key of the wrong type holds no request
  if type(count) == 'number' then removed = removed + count end
end
if removed == 0 then return 0 end
redis.call('HSET', KEYS[1], 'status', 'failed', 'failure_reason', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
count(KEYS[4], 'requests_failed', 1)
return 1
