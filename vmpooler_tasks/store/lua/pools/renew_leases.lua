-- Prolongs leases, as long as they are still held.
-- KEYS   1…: sets of slots
-- ARGV   1: leased until   2: work prefix   3…: VM, fence
-- RETURN 1 or 0 for each VM; 0: it was taken over
local flags = {}
for i = 3, #ARGV, 2 do
  local held = redis.call('HGET', ARGV[2] .. ARGV[i], 'fence') == ARGV[i + 1]
  flags[#flags + 1] = held and 1 or 0
  for k = 1, held and #KEYS or 0 do redis.call('ZADD', KEYS[k], 'XX', ARGV[1], ARGV[i]) end
end
return flags
