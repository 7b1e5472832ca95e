-- Shared: withdraws a request whose final status is set: out of the lists of open ones, and its VMs to completed.
-- It calls `expire_once` of requests/close_status, which its user has to name before it.

-- Removes the request and its items from the lists, and lets its keys expire. `first_key` is the first of the keys delivered,
-- running, completed, for each part; `first_item` the first of its items in ARGV. Returns the VMs that it moved to completed.
local function withdraw(id, waiting, filling, items, keep_seconds, first_key, first_item, keeps_vms)
  redis.call('ZREM', waiting, id)
  redis.call('ZREM', filling, id)
  for i = first_item, #ARGV do redis.call('ZREM', items, ARGV[i]) end
  local moved = {}
  for k = first_key, #KEYS, 3 do
    local delivered, running, completed = KEYS[k], KEYS[k + 1], KEYS[k + 2]
    expire_once(delivered, keep_seconds)
    for _, vm in ipairs(keeps_vms and {} or redis.call('SMEMBERS', delivered)) do
      if redis.call('SMOVE', running, completed, vm) == 1 then moved[#moved + 1] = vm end
    end
  end
  return moved
end
