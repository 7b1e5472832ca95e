-- Adds strays to discovered: VMs that the provider has and that are in no queue of the pool.
-- KEYS   1: discovered   2…: the other queues of the pool, without migrating
-- ARGV   1: metadata prefix   2: pool   3…: VMs
-- RETURN the VMs that were added
local discovered, vm_prefix, pool = KEYS[1], ARGV[1], ARGV[2]

local added = {}
for i = 3, #ARGV do
  local vm, queued = ARGV[i], 0
  for k = 1, #KEYS do queued = queued + redis.call('SISMEMBER', KEYS[k], vm) end
  local home = redis.pcall('HGET', vm_prefix .. vm, 'pool')
  if queued == 0 and (type(home) ~= 'string' or home == pool) then
    redis.call('SADD', discovered, vm)
    added[#added + 1] = vm
  end
end
return added
