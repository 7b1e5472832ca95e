-- Moves VMs from a queue to completed until so many are left, at most 500 in one call.
-- KEYS   1: the queue   2: completed
-- ARGV   1: how many may stay
-- RETURN the VMs that were moved; 500 if there may be more
local excess = math.min(redis.call('SCARD', KEYS[1]) - tonumber(ARGV[1]), 500)
if excess <= 0 then return {} end
local vms = redis.call('SRANDMEMBER', KEYS[1], excess)
redis.call('SADD', KEYS[2], unpack(vms))
redis.call('SREM', KEYS[1], unpack(vms))
return vms
