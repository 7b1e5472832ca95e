-- Takes a VM out of the inventory that is lost, unless it was made again meanwhile.
-- KEYS   1: the pool's inventory (hash VM -> record)
-- ARGV   1: VM   2: its record as it was read
-- RETURN 1 if it was taken out
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
