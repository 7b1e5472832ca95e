-- Hands out destructions that nobody works on; whoever took one on and has not renewed its lease, loses it. A worker that
-- still clones the VM keeps it until it is made.
-- KEYS   1: destructions (zset)   2: slots of clones   3: slots of clones for requests
-- ARGV   1: now   2: until when they wait for a worker   3: epoch before which a destruction is forgotten
--        4: work prefix   5…: VMs
-- RETURN the VMs whose destruction is handed out
local now, found = tonumber(ARGV[1]), {}
local function is_leased_in(slots, vm)
  local lease_end = redis.call('ZSCORE', slots, vm)
  return lease_end and tonumber(lease_end) > now
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3])
for i = 5, #ARGV do
  local vm = ARGV[i]
  if not is_leased_in(KEYS[1], vm) then
    if not is_leased_in(KEYS[2], vm) and not is_leased_in(KEYS[3], vm) then
      redis.call('HDEL', ARGV[4] .. vm, 'owner', 'fence')
    end
    redis.call('ZADD', KEYS[1], ARGV[2], vm)
    found[#found + 1] = vm
  end
end
return found
