-- Plans the destructions that no worker holds, of VMs that are completed at this instant. A worker whose lease has ended loses
-- its destruction; a worker that still clones the VM keeps it until the clone is over.
-- KEYS   1: destructions (zset)   2: completed   3: slots of clones   4: slots of clones for requests
-- ARGV   1: now   2: epoch until which they wait for a worker   3: epoch before which a destruction is forgotten
--        4: work prefix   5: maximum of destructions that wait for a worker or are with one   6…: VMs
-- RETURN {count of these, the VMs whose destruction has to be sent to the workers}
local destroys, completed, pool_slots, request_slots = unpack(KEYS)
local now, planned_until, forgotten_before, work_prefix = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local maximum = tonumber(ARGV[5])

local function is_leased_in(slots, vm)
  local lease_end = redis.call('ZSCORE', slots, vm)
  return lease_end and tonumber(lease_end) > now
end

-- A destruction that failed is leased, too, until its next attempt: no worker has it, and it was tried before.
local function is_postponed(vm)
  local owner, attempts = unpack(redis.call('HMGET', work_prefix .. vm, 'owner', 'destroys'))
  return attempts and not owner
end

local planned, outstanding = {}, 0
redis.call('ZREMRANGEBYSCORE', destroys, '-inf', '(' .. forgotten_before)
for i = 6, #ARGV do
  local vm = ARGV[i]
  if outstanding >= maximum then break end
  guard_type(work_prefix .. vm)
  if is_leased_in(destroys, vm) then
    if not is_postponed(vm) then outstanding = outstanding + 1 end
  elseif redis.call('SISMEMBER', completed, vm) == 1 then
    if not is_leased_in(pool_slots, vm) and not is_leased_in(request_slots, vm) then
      redis.call('HDEL', work_prefix .. vm, 'owner', 'fence')
    end
    redis.call('ZADD', destroys, planned_until, vm)
    planned[#planned + 1] = vm
    outstanding = outstanding + 1
  end
end
return {outstanding, planned}
