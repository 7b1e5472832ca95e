-- Shared: withdraws a request whose final status is set: out of the lists of open ones, and its VMs to completed.
-- It calls `expire_once` of requests/close_status and `queued_items` of requests/queued_items, which its user has to name before it.

-- Removes the request and its items from the lists, and lets its keys expire. `first_key` is the first of the keys delivered,
-- running, completed, for each part; `first_part` the first of the words in ARGV: how many VMs a part asks for, its items' text
-- before and behind the count. Returns the VMs that it moved to completed.
local function withdraw(id, waiting, filling, items, keep_seconds, first_key, first_part, keeps_vms)
  redis.call('ZREM', waiting, id)
  redis.call('ZREM', filling, id)
  for i = first_part, #ARGV, 3 do
    for _, item in ipairs(queued_items(items, tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2])) do
      redis.call('ZREM', items, item[1])
    end
  end
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
