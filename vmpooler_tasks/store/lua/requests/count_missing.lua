-- Shared: how many VMs one part of a request has and lacks. A VM that was delivered counts as long as it runs.
-- uses: requests/queued_items

-- Returns the VMs that were delivered and run.
local function count_delivered(delivered, running)
  local count = 0
  for _, vm in ipairs(redis.call('SMEMBERS', delivered)) do count = count + redis.call('SISMEMBER', running, vm) end
  return count
end

-- Returns the VMs that were delivered and run, and those that are pending for the request, whichever manager started them.
local function count_present(delivered, running, pending, vm_prefix, request, alias)
  local count = count_delivered(delivered, running)
  for _, vm in ipairs(redis.call('SMEMBERS', pending)) do
    local found = redis.pcall('HMGET', vm_prefix .. vm, 'request_id', 'pool_alias')
    if found[1] == request and found[2] == alias then count = count + 1 end
  end
  return count
end

-- Returns how many of the `wanted` VMs are neither present nor queued as items, whose text is `before`, count, `behind`.
local function count_missing(wanted, delivered, running, pending, items, vm_prefix, request, alias, before, behind)
  local missing = wanted - count_present(delivered, running, pending, vm_prefix, request, alias)
  for _, item in ipairs(queued_items(items, wanted, before, behind)) do missing = missing - item[2] end
  return missing
end
