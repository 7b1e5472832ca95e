-- uses: pools/lease
-- Removes the note of a DNS record that is deleted.
-- KEYS   1: work   2: records of the pool (hash)
-- ARGV   1: VM   2: fence
-- RETURN 1; 0 if another worker took the lease over
local work, records = KEYS[1], KEYS[2]
local vm, fence = unpack(ARGV)

if has_lost(work, fence) then return 0 end
redis.call('HDEL', records, vm)
return 1
