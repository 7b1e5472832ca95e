-- uses: pools/lease
-- uses: requests/replace_delivered
-- Claims the destruction of a completed VM for one worker, and leases it. If the VM was delivered to an open request, it is
-- replaced there: VMPooler's API completes a VM that its user deletes, and leaves it delivered.
-- KEYS   1: completed   2: destructions (zset)   3: work   4: fences   5: metadata
--        6: its request   7: VMs delivered to the request   8: items of requests   9: running
-- ARGV   1: VM   2: owner   3: now   4: end of the lease   5: now, as VMPooler writes it   6: seconds to keep metadata
--        7: text of its item before the count ('' for a VM without a request)   8: text behind the count
-- RETURN {claim, fence, attempts, 1 if the destruction had not started before, 1 if its request gets another VM}
--        claim: claimed, left_queue (no longer completed), busy (another worker holds the lease),
--        in_two_queues (it is running, too: an inspection decides where it belongs)
local completed, destroys, work, fences, metadata, request, delivered, items, running = unpack(KEYS)
local vm, owner, now, lease_end, stamp, keep_seconds, before, behind = unpack(ARGV)

local leased = is_leased(destroys, work, vm, owner, tonumber(now))
if redis.call('SISMEMBER', completed, vm) == 0 then
  if not leased then redis.call('ZREM', destroys, vm) end
  return {'left_queue', 0, 0, 0, 0}
end
if leased then return {'busy', 0, 0, 0, 0} end
if redis.pcall('SISMEMBER', running, vm) == 1 and redis.call('HEXISTS', metadata, 'destroy') == 0 then
  redis.call('ZREM', destroys, vm)
  return {'in_two_queues', 0, 0, 0, 0}
end
local attempts = add_to_count(work, 'destroys', 1)
local fence = take_work(destroys, nil, work, fences, vm, owner, now, lease_end)
local is_first = redis.call('HSETNX', metadata, 'destroy', stamp)  -- the first attempt: its age in completed
redis.call('EXPIRE', metadata, keep_seconds)
return {'claimed', fence, attempts, is_first, replace_delivered(vm, request, delivered, items, before, behind)}
