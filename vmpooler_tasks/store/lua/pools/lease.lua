-- Shared: who works on a VM. The work is a hash (owner, fence, lease, attempts, …). The VM's place in a sorted set, scored by
-- the epoch at which the lease ends, is also its slot; `counter` is as in pools/counter.lua.
-- uses: pools/counter
-- uses: redis/numbers
local function set_slot(slots, counter, vm, lease_end)
  redis.call('ZADD', slots, lease_end, vm)
  write_counter(slots, counter)
end

local function free_slot(slots, counter, vm)
  redis.call('ZREM', slots, vm)
  write_counter(slots, counter)
end

-- An owner is a task, or one try of a task: `task/try`.
local function task_of(owner) return string.match(owner, '^(.*)/%d+$') or owner end

-- Returns true if the time of the VM in this set is in the future, and no later than it can be. A later one was written while a
-- clock was wrong, and has no effect. A plan lasts for five leases, `lease` is in seconds: six of them are too long.
local function is_running(slots, work, vm, now)
  local lease_end = number_of(redis.call('ZSCORE', slots, vm)) or 0
  local lease = math.min(number_of(redis.call('HGET', work, 'lease')) or 60, 86400)
  return lease_end > now and lease_end <= now + 6 * lease
end

-- Returns true if another task than that of `owner` holds the lease now.
local function is_leased(slots, work, vm, owner, now)
  local other = redis.call('HGET', work, 'owner')
  return other and task_of(other) ~= task_of(owner) and is_running(slots, work, vm, now)
end

-- Returns true if this very try holds the lease: its message was delivered twice. A later try of the task is no such case: it
-- starts when the process of the try before it has ended.
local function is_delivered_twice(slots, work, vm, owner, now)
  return redis.call('HGET', work, 'owner') == owner and is_running(slots, work, vm, now)
end

-- Returns the VMs of this set that a worker has to take over: their time is over, or later than `latest` and than it can be. No
-- more than a page of each, with work whose type was checked.
local function find_due(slots, work_prefix, now, latest, page_size)
  local due = redis.call('ZRANGEBYSCORE', slots, '-inf', now, 'LIMIT', 0, page_size)
  for _, vm in ipairs(due) do guard_type(work_prefix .. vm) end
  for _, vm in ipairs(redis.call('ZRANGEBYSCORE', slots, '(' .. latest, '+inf', 'LIMIT', 0, page_size)) do
    guard_type(work_prefix .. vm)
    if not is_leased(slots, work_prefix .. vm, vm, '', tonumber(now)) then due[#due + 1] = vm end
  end
  return due
end

-- Returns a new fence: the time in microseconds, or one more than the last fence, whichever is greater. So no fence is given a
-- second time: neither after the counter was lost or overwritten, nor after Redis lost its last writes, which had counted on,
-- nor while its clock is behind that of a server before it.
local function next_fence(fences)
  local fence, time = redis.pcall('INCR', fences), redis.call('TIME')
  local now = string.format('%d%06d', time[1], time[2])
  if type(fence) == 'number' and fence > tonumber(now) then return fence end
  redis.call('SET', fences, now)
  return tonumber(now)
end

-- Makes `owner` the holder. The returned fence distinguishes this holder from every other one, even of the same name.
local function take_work(slots, counter, work, fences, vm, owner, now, lease_end)
  local fence = next_fence(fences)
  redis.call('HSET', work, 'owner', owner, 'fence', fence, 'lease', lease_end - now)
  redis.call('EXPIRE', work, 604800)  -- no work takes a week
  if counter then set_slot(slots, counter, vm, lease_end) else redis.call('ZADD', slots, lease_end, vm) end
  return fence
end

-- Returns true if another holder replaced the holder of this fence. The fence '' belongs to nobody.
local function has_lost(work, fence)
  return fence ~= '' and redis.call('HGET', work, 'fence') ~= fence
end

-- Deletes the work of a clone that is over, unless the VM's destruction, which may have started, is recorded in it.
local function forget_clone(work)
  if redis.call('HEXISTS', work, 'destroys') == 0 then redis.call('DEL', work) end
end
