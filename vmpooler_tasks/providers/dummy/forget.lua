-- Takes a VM out of the inventory that is lost, unless it was made again meanwhile.
-- KEYS   1: the pool's inventory (hash VM -> record)
-- ARGV   1: VM   2: its record as it was read
-- RETURN 1 if it was taken out
local inventory, vm, record = KEYS[1], ARGV[1], ARGV[2]
if redis.call('HGET', inventory, vm) ~= record then return 0 end
return redis.call('HDEL', inventory, vm)
