-- uses: guards/brake
-- Moves discovered VMs to completed. While the pool's brake is engaged, only those whose destruction has started. A VM that is in
-- another queue of the pool meanwhile only leaves discovered.
-- KEYS   1: brakes (hash)   2: discovered   3: completed   4…: the other queues of the pool
-- ARGV   1: pool   2: metadata prefix   3…: VMs
-- RETURN the VMs that were moved
local brakes, discovered, completed = unpack(KEYS, 1, 3)
local pool, vm_prefix = ARGV[1], ARGV[2]

local is_held, moved = is_engaged(brakes, pool), {}
for i = 3, #ARGV do
  local vm = ARGV[i]
  if redis.call('SISMEMBER', discovered, vm) == 1 and (not is_held or is_being_destroyed(vm_prefix .. vm)) then
    local queues = 0
    for k = 4, #KEYS do queues = queues + redis.call('SISMEMBER', KEYS[k], vm) end
    if queues == 0 then
      redis.call('SADD', completed, vm)
      moved[#moved + 1] = vm
    end
    redis.call('SREM', discovered, vm)
  end
end
return moved
