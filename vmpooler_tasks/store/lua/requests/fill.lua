-- uses: requests/status
-- uses: requests/close_status
-- uses: requests/count_missing
-- Marks a request ready once all of its VMs are delivered and run. Its delivered VMs stay known as long as the request; those
-- that do not run any more are taken out of them.
-- KEYS   1: the request   2: requests being filled   3…: its delivered VMs and the running VMs of the pool, for each part
-- ARGV   1: request   2: seconds to keep the request   3…: how many VMs each part asks for
-- RETURN 1 if it became ready, else 0
local request, filling = KEYS[1], KEYS[2]
local id, keep_seconds = ARGV[1], ARGV[2]

if final_status(request) or redis.call('EXISTS', request) == 0 then return 0 end
for i = 3, #ARGV do
  local delivered, running, wanted = KEYS[2 * i - 3], KEYS[2 * i - 2], tonumber(ARGV[i])
  if count_delivered(delivered, running) < wanted then return 0 end
end
set_final_status(request, 'ready', nil, keep_seconds)
for k = 3, #KEYS, 2 do
  local delivered, running = KEYS[k], KEYS[k + 1]
  for _, vm in ipairs(redis.call('SMEMBERS', delivered)) do
    if redis.call('SISMEMBER', running, vm) == 0 then redis.call('SREM', delivered, vm) end
  end
  expire_once(delivered, keep_seconds)
end
redis.call('ZREM', filling, id)
return 1
