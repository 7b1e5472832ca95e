-- uses: pools/lease
-- Plans the destructions that no worker holds, of VMs that are completed at this instant. A worker whose lease has ended loses
-- its destruction; a worker that still clones the VM keeps it until the clone is over.
-- KEYS   1: destructions (zset)   2: completed   3: slots of clones   4: slots of clones for requests
-- ARGV   1: now   2: epoch until which they wait for a worker   3: epoch before which a destruction is forgotten
--        4: work prefix   5: maximum of destructions that wait for a worker or are with one   6…: VMs
-- RETURN {count of these, the VMs whose destruction has to be sent to the workers}
local destroys, completed, pool_slots, request_slots = unpack(KEYS)
local now, planned_until, forgotten_before, work_prefix = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local maximum = tonumber(ARGV[5])

-- Returns true if a worker holds the destruction, or if it waits. A wait that is longer than it can be has no effect.
local function is_planned(vm, work)
  if redis.call('HEXISTS', work, 'owner') == 1 then return is_running(destroys, work, vm, now) end
  local wait_end = number_of(redis.call('ZSCORE', destroys, vm)) or 0
  local wait = math.max(math.min(number_of(redis.call('HGET', work, 'wait')) or 0, 86400), planned_until - now)
  return wait_end > now and wait_end <= now + 2 * wait
end

-- A destruction that failed is leased, too, until its next attempt: no worker has it, and it was tried before.
local function is_postponed(work)
  local owner, attempts = unpack(redis.call('HMGET', work, 'owner', 'destroys'))
  return attempts and not owner
end

local planned, outstanding = {}, 0
redis.call('ZREMRANGEBYSCORE', destroys, '-inf', '(' .. forgotten_before)
for i = 6, #ARGV do
  local vm = ARGV[i]
  if outstanding >= maximum then break end
  local work = work_prefix .. vm
  guard_type(work)
  if is_planned(vm, work) then
    if not is_postponed(work) then outstanding = outstanding + 1 end
  elseif redis.call('SISMEMBER', completed, vm) == 1 then
    if not is_running(pool_slots, work, vm, now) and not is_running(request_slots, work, vm, now) then
      redis.call('HDEL', work, 'owner', 'fence')
    end
    redis.call('ZADD', destroys, planned_until, vm)
    planned[#planned + 1] = vm
    outstanding = outstanding + 1
  end
end
return {outstanding, planned}
