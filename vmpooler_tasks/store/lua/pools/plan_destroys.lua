-- Plans the destructions that no worker holds. A worker whose lease has ended loses its destruction; a worker that still clones
-- the VM keeps it until the clone is over.
-- KEYS   1: destructions (zset)   2: slots of clones   3: slots of clones for requests
-- ARGV   1: now   2: epoch until which they wait for a worker   3: epoch before which a destruction is forgotten
--        4: work prefix   5…: VMs
-- RETURN the VMs whose destruction has to be sent to the workers
local destroys, pool_slots, request_slots = unpack(KEYS)
local now, planned_until, forgotten_before, work_prefix = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]

local function is_leased_in(slots, vm)
  local lease_end = redis.call('ZSCORE', slots, vm)
  return lease_end and tonumber(lease_end) > now
end

local planned = {}
redis.call('ZREMRANGEBYSCORE', destroys, '-inf', '(' .. forgotten_before)
for i = 5, #ARGV do
  local vm = ARGV[i]
  if not is_leased_in(destroys, vm) then
    guard_type(work_prefix .. vm)
    if not is_leased_in(pool_slots, vm) and not is_leased_in(request_slots, vm) then
      redis.call('HDEL', work_prefix .. vm, 'owner', 'fence')
    end
    redis.call('ZADD', destroys, planned_until, vm)
    planned[#planned + 1] = vm
  end
end
return planned
