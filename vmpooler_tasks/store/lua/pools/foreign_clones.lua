-- Shared: pending VMs that another pool manager started.

-- Returns (the VM and its clone time, true if it is still being cloned, its request) of such a VM. Returns nil if the VM is not
-- pending, or if these workers started it: it holds a slot, or its work says that it was started, claimed or cloned.
local function read_foreign(pool, vm, slots, request_slots, vm_prefix, work_prefix, pending_prefix)
  if redis.pcall('SISMEMBER', pending_prefix .. pool, vm) ~= 1 then return nil end
  if redis.call('ZSCORE', slots, vm) or redis.call('ZSCORE', request_slots, vm) then return nil end
  for _, field in ipairs({'started', 'attempts', 'cloned'}) do
    if redis.pcall('HEXISTS', work_prefix .. vm, field) == 1 then return nil end
  end
  local fields = redis.pcall('HMGET', vm_prefix .. vm, 'clone', 'clone_time', 'request_id')
  if fields.err or not fields[1] then return nil end
  return vm .. ' ' .. fields[1], not fields[2], fields[3]
end
