-- uses: requests/status
-- uses: requests/set_status
-- uses: redis/counters
-- Fails an on-demand request that nobody fills any more, unless it got an answer meanwhile.
-- KEYS   1: the request (hash)   2: requests waiting (zset)   3: requests being filled (zset)   4: counters
--        5…: its delivered VMs
-- ARGV   1: request id   2: reason   3: seconds to keep the request
-- RETURN 1 if it was failed
if answer_to(KEYS[1]) then return 0 end
local removed = 0
for i = 2, 3 do
  local count = redis.pcall('ZREM', KEYS[i], ARGV[1])  -- a key of the wrong type holds no request
  if type(count) == 'number' then removed = removed + count end
end
if removed == 0 then return 0 end
answer_request(KEYS[1], 'failed', ARGV[2], ARGV[3])
for i = 5, #KEYS do let_go(KEYS[i], ARGV[3]) end
count(KEYS[4], 'requests_failed', 1)
return 1
