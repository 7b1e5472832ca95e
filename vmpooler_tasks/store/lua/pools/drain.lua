-- uses: pools/pause_state
-- Moves VMs of a draining pool from a queue to completed, at most one page in one call.
-- KEYS   1: paused pools (hash)   2: the queue   3: completed
-- ARGV   1: pool   2: page size
-- RETURN the VMs that were moved; a full page if there may be more; none if the pool is not draining
local paused, queue, completed = unpack(KEYS)
local pool, page_size = ARGV[1], ARGV[2]

if pause_state(paused, pool) ~= 'draining' then return {} end
local vms = redis.call('SRANDMEMBER', queue, page_size)
if #vms == 0 then return {} end
redis.call('SADD', completed, unpack(vms))  -- first: a key of the wrong type raises before the VMs have left their queue
redis.call('SREM', queue, unpack(vms))
return vms
