-- uses: requests/status
-- uses: requests/close_status
-- uses: requests/queued_items
-- uses: requests/withdraw
-- Closes a request. An open one fails for the reason. Its queued items are removed, its keys expire, and its delivered VMs go to
-- completed unless the request is ready.
-- KEYS   1: the request   2: requests waiting   3: requests being filled   4: items
--        5…: delivered, running, completed, for each part of the request
-- ARGV   1: request   2: reason   3: seconds to keep the request   4…: for each part: VMs it asks for, text before and behind
--        the count of its items
-- RETURN {status, VMs that were moved to completed}
local request, waiting, filling, items = unpack(KEYS, 1, 4)
local id, reason, keep_seconds = ARGV[1], ARGV[2], ARGV[3]

local status = final_status(request)
if not status then
  status = 'failed'
  set_final_status(request, status, reason)
end
expire_once(request, keep_seconds)
return {status, withdraw(id, waiting, filling, items, keep_seconds, 5, 4, status == 'ready')}
