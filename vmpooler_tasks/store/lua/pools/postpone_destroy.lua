-- uses: pools/lease
-- Postpones a destruction that failed.
-- KEYS   1: destructions   2: work
-- ARGV   1: VM   2: fence   3: epoch of the next attempt   4: seconds until then
-- RETURN 1; 0 if another worker took the lease over
local destroys, work = KEYS[1], KEYS[2]
local vm, fence, next_attempt, wait = unpack(ARGV)

if has_lost(work, fence) then return 0 end
redis.call('HDEL', work, 'owner', 'fence')
redis.call('HSET', work, 'wait', wait)
redis.call('ZADD', destroys, next_attempt, vm)
return 1
