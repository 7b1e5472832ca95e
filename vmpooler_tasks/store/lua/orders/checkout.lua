-- Shared: return the VM's time of checkout, as VMPooler wrote it; '' if it has none. A key of another type has none.
local function checkout_of(metadata, active, vm)
  for _, place in ipairs({{metadata, 'checkout'}, {active, vm}}) do
    local found = redis.pcall('HGET', place[1], place[2])
    if type(found) == 'string' then return found end
  end
  return ''
end
