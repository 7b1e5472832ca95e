-- uses: requests/status
-- uses: requests/set_status
-- Answers a request whose VMs are all delivered. What it was given is known for as long as the request.
-- KEYS   1: the request   2: requests being filled   3…: its delivered VMs, a set for each part of the request
-- ARGV   1: request   2: seconds to keep the request   3…: how many each part asks for
-- RETURN 1 if it is ready now
if answer_to(KEYS[1]) or redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for i = 3, #KEYS do
  if redis.call('SCARD', KEYS[i]) < tonumber(ARGV[i]) then return 0 end
end
answer_request(KEYS[1], 'ready', nil, ARGV[2])
for i = 3, #KEYS do let_go(KEYS[i], ARGV[2]) end
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
