-- Shared: how many VMs a part of a request is short of, beside those that are delivered, pending for it, or still to be
-- begun (an item, whose text is `before`, count, `behind`).
local function missing_vms(wanted, delivered, pending, items, vm_prefix, request, alias, before, behind)
  local missing = wanted - redis.call('SCARD', delivered)
  for _, vm in ipairs(redis.call('SMEMBERS', pending)) do
    local found = redis.pcall('HMGET', vm_prefix .. vm, 'request_id', 'pool_alias')
    if found[1] == request and found[2] == alias then missing = missing - 1 end
  end
  for many = 1, 2 * wanted do
    if redis.call('ZSCORE', items, before .. many .. behind) then missing = missing - many end
  end
  return missing
end
