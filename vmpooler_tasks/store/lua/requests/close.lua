-- uses: requests/status
-- uses: requests/close_status
-- Closes a request. An open one fails for the reason. Its queued items are removed, its keys expire, and its delivered VMs go to
-- completed unless the request is ready.
-- KEYS   1: the request   2: requests waiting   3: requests being filled   4: items
--        5…: delivered, running, completed, for each part of the request
-- ARGV   1: request   2: reason   3: seconds to keep the request   4…: its items in every form that may be queued
-- RETURN {status, VMs that were moved to completed}
local request, waiting, filling, items = unpack(KEYS, 1, 4)
local id, reason, keep_seconds = ARGV[1], ARGV[2], ARGV[3]

local status = final_status(request)
if not status then
  status = 'failed'
  set_final_status(request, status, reason)
end
expire_once(request, keep_seconds)
for k = 5, #KEYS, 3 do expire_once(KEYS[k], keep_seconds) end
redis.call('ZREM', waiting, id)
redis.call('ZREM', filling, id)
for i = 4, #ARGV do redis.call('ZREM', items, ARGV[i]) end
local moved = {}
for k = 5, status == 'ready' and 0 or #KEYS, 3 do
  local delivered, running, completed = KEYS[k], KEYS[k + 1], KEYS[k + 2]
  for _, vm in ipairs(redis.call('SMEMBERS', delivered)) do
    if redis.call('SMOVE', running, completed, vm) == 1 then moved[#moved + 1] = vm end
  end
end
return {status, moved}
