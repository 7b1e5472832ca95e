-- uses: pools/lease
-- Takes clones from workers whose lease has ended, and leases them to the next worker until the new end. VMs that are no
-- longer pending give their slot back. So do clones that wait until later than they can: a clock was wrong.
-- KEYS   1: slots   2: counter of the slots   3: watch for other managers (hash)
-- ARGV   1: now   2: end of the new lease   3: metadata prefix   4: work prefix   5: prefix of pending   6: page size
--        7: epoch after which no clone waits
-- RETURN VM, pool, … of the clones that have to be sent to the workers again
local slots, counter = KEYS[1], {KEYS[2], KEYS[3]}
local now, lease_end, vm_prefix, work_prefix, pending_prefix, page_size, latest = unpack(ARGV)

local reaped = {}
for _, vm in ipairs(find_due(slots, work_prefix, now, latest, page_size)) do
  local pool = redis.pcall('HGET', vm_prefix .. vm, 'pool')
  local is_pending = type(pool) == 'string' and redis.pcall('SISMEMBER', pending_prefix .. pool, vm)
  if type(is_pending) == 'table' then
    redis.call('ZADD', slots, lease_end, vm)  -- an error: its queue is not a set. A later call decides
  elseif is_pending == 1 then
    redis.call('HDEL', work_prefix .. vm, 'owner', 'fence')
    redis.call('ZADD', slots, lease_end, vm)
    reaped[#reaped + 1] = vm
    reaped[#reaped + 1] = pool
  else
    redis.call('ZREM', slots, vm)
    forget_clone(work_prefix .. vm)
  end
end
write_counter(slots, counter)
return reaped
