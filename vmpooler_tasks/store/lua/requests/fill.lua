-- uses: requests/status
-- uses: requests/close_status
-- Marks a request ready once all of its VMs are delivered. Its delivered VMs stay known as long as the request.
-- KEYS   1: the request   2: requests being filled   3…: its delivered VMs, a set for each part of the request
-- ARGV   1: request   2: seconds to keep the request   3…: how many VMs each part asks for
-- RETURN 1 if it became ready, else 0
local request, filling = KEYS[1], KEYS[2]
local id, keep_seconds = ARGV[1], ARGV[2]

if final_status(request) or redis.call('EXISTS', request) == 0 then return 0 end
for i = 3, #KEYS do
  local delivered, wanted = KEYS[i], tonumber(ARGV[i])
  if redis.call('SCARD', delivered) < wanted then return 0 end
end
set_final_status(request, 'ready', nil, keep_seconds)
for i = 3, #KEYS do expire_once(KEYS[i], keep_seconds) end
redis.call('ZREM', filling, id)
return 1
