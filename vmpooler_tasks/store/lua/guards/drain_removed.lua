-- uses: guards/brake
-- Move VMs of a pool that is in no configuration from a queue to completed, unless an operator keeps them or its brake is engaged.
-- KEYS   1: removed pools (hash)   2: kept pools (hash)   3: the queue   4: completed   5: brakes (hash)
-- ARGV   1: pool   2: maximum number of VMs
-- RETURN the VMs that were moved
local removed, kept, queue, completed, brakes = unpack(KEYS)
local pool, limit = ARGV[1], tonumber(ARGV[2])

if redis.call('HEXISTS', removed, pool) == 0 or redis.call('HEXISTS', kept, pool) == 1 or limit < 1 then return {} end
if is_engaged(brakes, pool) then return {} end
local vms = redis.call('SRANDMEMBER', queue, limit)
if #vms == 0 then return {} end
redis.call('SADD', completed, unpack(vms))  -- first: a key of the wrong type raises before the VMs have left their queue
redis.call('SREM', queue, unpack(vms))
return vms
