-- Shared: returns how many VMs one part of a request lacks: `wanted` without those that are delivered, pending for it, or queued
-- as items (whose text is `before`, count, `behind`).
local function count_missing(wanted, delivered, pending, items, vm_prefix, request, alias, before, behind)
  local missing = wanted - redis.call('SCARD', delivered)
  for _, vm in ipairs(redis.call('SMEMBERS', pending)) do
    local found = redis.pcall('HMGET', vm_prefix .. vm, 'request_id', 'pool_alias')
    if found[1] == request and found[2] == alias then missing = missing - 1 end
  end
  for queued = 1, 2 * wanted do
    if redis.call('ZSCORE', items, before .. queued .. behind) then missing = missing - queued end
  end
  return missing
end
