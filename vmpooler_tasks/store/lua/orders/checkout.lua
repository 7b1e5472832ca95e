-- Shared: return the VM's time of checkout, as VMPooler wrote it; '' if it has none.
local function checkout_of(metadata, active, vm)
  return redis.call('HGET', metadata, 'checkout') or redis.call('HGET', active, vm) or ''
end
