-- Shared: who works on a VM. Its work is a hash (owner, fence, attempts, …); its place in a sorted set of VMs, scored by
-- the epoch until which the work is leased, is also its slot: `counter` shows how many there are.
local function set_slot(slots, counter, vm, lease_end)
  redis.call('ZADD', slots, lease_end, vm)
  redis.call('SET', counter, redis.call('ZCARD', slots))
end

local function free_slot(slots, counter, vm)
  redis.call('ZREM', slots, vm)
  redis.call('SET', counter, redis.call('ZCARD', slots))
end

-- An owner is a task, or one of its tries: `task/try`.
local function task_of(owner) return string.match(owner, '^(.*)/%d+$') or owner end

-- Whether another task than that of `owner` works on the VM now.
local function is_leased(slots, work, vm, owner, now)
  local other = redis.call('HGET', work, 'owner')
  if not other or task_of(other) == task_of(owner) then return false end
  local lease_end = redis.call('ZSCORE', slots, vm)
  return lease_end and tonumber(lease_end) > now
end

-- Whether this very try works on it: its message has been delivered twice. A later try of the task is another matter, it
-- is made when the process of the one before is gone.
local function is_delivered_twice(slots, work, vm, owner, now)
  local lease_end = redis.call('HGET', work, 'owner') == owner and redis.call('ZSCORE', slots, vm)
  return lease_end and tonumber(lease_end) > now
end

-- Takes the work on. The fence tells this holder from every other one, also from an earlier one of the same name.
local function take_work(slots, counter, work, fences, vm, owner, lease_end)
  local fence = redis.call('INCR', fences)
  redis.call('HSET', work, 'owner', owner, 'fence', fence)
  redis.call('EXPIRE', work, 604800)  -- nothing is worked on for a week
  if counter then set_slot(slots, counter, vm, lease_end) else redis.call('ZADD', slots, lease_end, vm) end
  return fence
end

-- Whether the holder of this fence has been replaced; '' is nobody's.
local function has_lost(work, fence)
  return fence ~= '' and redis.call('HGET', work, 'fence') ~= fence
end

-- Forgets a clone that is over. What is known of the VM's destruction, which may have begun meanwhile, stays.
local function forget_clone(work)
  if redis.call('HEXISTS', work, 'destroys') == 0 then redis.call('DEL', work) end
end
