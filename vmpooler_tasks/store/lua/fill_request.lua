-- uses: answered
-- Answers a request whose VMs are all delivered.
-- KEYS   1: the request   2: requests being filled   3…: its delivered VMs, a set for each part of the request
-- ARGV   1: request   2…: how many each part asks for
-- RETURN 1 if it is ready now
if answer_to(KEYS[1]) or redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for i = 3, #KEYS do
  if redis.call('SCARD', KEYS[i]) < tonumber(ARGV[i - 1]) then return 0 end
end
redis.call('HSET', KEYS[1], 'status', 'ready')
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
