-- uses: requests/replace_delivered
-- Moves one VM from its queue to completed, where it waits for its destruction. If it was delivered to an open request, it is
-- replaced there.
-- KEYS   1: its queue   2: completed   3: its request   4: VMs delivered to the request   5: items of requests
-- ARGV   1: VM   2: text of its item before the count ('' for a VM without a request)   3: text behind the count
-- RETURN completed, replaced (completed, and its request gets another VM), left_queue (nothing was done)
local queue, completed, request, delivered, items = unpack(KEYS)
local vm, before, behind = unpack(ARGV)

if redis.call('SISMEMBER', queue, vm) == 0 then return 'left_queue' end
redis.call('SADD', completed, vm)  -- first: a key of the wrong type raises before the VM has left its queue
redis.call('SREM', queue, vm)
return replace_delivered(vm, request, delivered, items, before, behind) == 1 and 'replaced' or 'completed'
