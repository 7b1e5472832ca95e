-- uses: guards/missing
-- uses: requests/replace_delivered
-- Moves a VM that its provider does not have from its queue to completed, unless the pool's brake holds it. If
-- it was delivered to an open request, it is replaced there.
-- KEYS   1: its queue   2: completed   3: its request   4: VMs delivered to the request   5: items of requests
--        6…: see guards/missing.lua
-- ARGV   1: VM   2: text of its item before the count ('' for a VM without a request)   3: text behind the count
--        4…: see guards/missing.lua
-- RETURN 1 if it was moved, 2 if it was moved and its request gets another VM, 0 if it had left its queue, -1 if the brake
--        holds it
local queue, completed, request, delivered, items = unpack(KEYS, 1, 5)
local vm, before, behind = unpack(ARGV, 1, 3)

if redis.call('SISMEMBER', queue, vm) == 0 then return 0 end
if holds_missing(6, 4, vm) then return -1 end
redis.call('SADD', completed, vm)  -- first: a key of the wrong type raises before the VM has left its queue
redis.call('SREM', queue, vm)
return 1 + replace_delivered(vm, request, delivered, items, before, behind)
