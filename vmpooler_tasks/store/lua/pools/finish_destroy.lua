-- uses: pools/lease
-- uses: redis/counters
-- uses: guards/brake
-- Removes a destroyed VM from completed and migrating, with everything that is kept about its destruction. One that its provider did not have
-- stays completed while the brake of its pool is engaged, as if its destruction had not started.
-- KEYS   1: completed   2: destructions   3: work   4: active   5: counters   6: brakes (hash)   7: metadata
--        8: migrating
-- ARGV   1: VM   2: fence   3: its pool, if its provider did not have it and its destruction had not started before, else ''
--        4: epoch until which it waits if the brake holds it   5: seconds until then
-- RETURN 1; 0 if another worker took the lease over; -1 if the brake holds it
local completed, destroys, work, active, counters, brakes, metadata, migrating = unpack(KEYS)
local vm, fence, missing_in, held_until, wait = unpack(ARGV)

if has_lost(work, fence) then return 0 end
if missing_in ~= '' and is_engaged(brakes, missing_in) then
  redis.call('HDEL', metadata, 'destroy')
  redis.call('HDEL', work, 'destroys', 'owner', 'fence')
  redis.call('HSET', work, 'wait', wait)
  redis.call('ZADD', destroys, held_until, vm)
  return -1
end
redis.call('SREM', completed, vm)
redis.pcall('SREM', migrating, vm)  -- a key of the wrong type does not make the destruction undone
redis.call('HDEL', active, vm)
redis.call('ZREM', destroys, vm)
redis.call('DEL', work)
count(counters, 'vms_destroyed', 1)
return 1
