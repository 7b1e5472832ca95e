#!lua flags=no-writes,allow-oom
-- Finds the VMs whose metadata does not name this pool. Where there is no `pool`, `template` is the pool's name.
-- KEYS   none (metadata is named by ARGV, so that one call reads much)
-- ARGV   1: pool   2: metadata prefix   3…: VMs
-- RETURN the VMs of another pool, or of none
local pool, vm_prefix = ARGV[1], ARGV[2]

local foreign = {}
for i = 3, #ARGV do
  local home = redis.pcall('HMGET', vm_prefix .. ARGV[i], 'pool', 'template')
  if (home[1] or home[2]) ~= pool then foreign[#foreign + 1] = ARGV[i] end
end
return foreign
