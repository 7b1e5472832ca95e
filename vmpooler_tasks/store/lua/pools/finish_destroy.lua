-- uses: pools/lease
-- uses: redis/counters
-- Removes a destroyed VM from completed and migrating, with everything that is kept about its destruction.
-- KEYS   1: completed   2: destructions   3: work   4: active   5: counters   6: migrating
-- ARGV   1: VM   2: fence
-- RETURN 1; 0 if another worker took the lease over
local completed, destroys, work, active, counters, migrating = unpack(KEYS)
local vm, fence = ARGV[1], ARGV[2]

if has_lost(work, fence) then return 0 end
redis.call('SREM', completed, vm)
redis.pcall('SREM', migrating, vm)  -- a key of the wrong type does not make the destruction undone
redis.call('HDEL', active, vm)
redis.call('ZREM', destroys, vm)
redis.call('DEL', work)
count(counters, 'vms_destroyed', 1)
return 1
