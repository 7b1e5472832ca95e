-- Moves VMs from a queue to completed until `keep` are left, at most one page in one call.
-- KEYS   1: the queue   2: completed
-- ARGV   1: how many VMs to keep   2: page size
-- RETURN the VMs that were moved; a full page if there may be more
local queue, completed, keep, page_size = KEYS[1], KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2])

local excess = math.min(redis.call('SCARD', queue) - keep, page_size)
if excess <= 0 then return {} end
local vms = redis.call('SRANDMEMBER', queue, excess)
redis.call('SADD', completed, unpack(vms))
redis.call('SREM', queue, unpack(vms))
return vms
