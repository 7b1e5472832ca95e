-- Shared: replaces a VM that is gone and was delivered to an open request: takes it out of the delivered VMs, and queues a clone
-- whose item is `before`, 1, `behind`. A `before` of '' means that the VM was made for no request. A request or a set of the
-- wrong type holds no VM. Returns 1 if the VM was replaced, else 0.
-- uses: requests/status
-- uses: requests/put_item
local function replace_delivered(vm, request, delivered, items, before, behind)
  if before == '' or redis.pcall('HEXISTS', request, 'requested') ~= 1 or final_status(request) then return 0 end
  if redis.pcall('SISMEMBER', delivered, vm) ~= 1 then return 0 end
  put_item(items, 1, before, 1, behind)  -- first: if it cannot be queued, nothing is lost
  redis.call('SREM', delivered, vm)
  return 1
end
