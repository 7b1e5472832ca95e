-- Renews leases whose holder has not been replaced.
-- KEYS   1…: sets of slots
-- ARGV   1: new end of the leases   2: work prefix   3…: VM, fence
-- RETURN for each VM 1 if its lease was renewed, 0 if another worker took it over
local lease_end, work_prefix = ARGV[1], ARGV[2]

local flags = {}
for i = 3, #ARGV, 2 do
  local vm, fence = ARGV[i], ARGV[i + 1]
  guard_type(work_prefix .. vm)
  local is_held = redis.call('HGET', work_prefix .. vm, 'fence') == fence
  flags[#flags + 1] = is_held and 1 or 0
  for k = 1, is_held and #KEYS or 0 do redis.call('ZADD', KEYS[k], 'XX', lease_end, vm) end
end
return flags
