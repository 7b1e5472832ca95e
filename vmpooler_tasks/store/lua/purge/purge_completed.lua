-- uses: purge/still_stale
-- uses: redis/counters
-- Removes stale VMs from completed.
-- KEYS   1: completed   2: counters
-- ARGV   1: metadata prefix   2: counter   3…: VM, its `destroy` as it was read
-- RETURN 1 or 0 for each VM; 0: it moved or changed meanwhile, and stays
local completed, counters = KEYS[1], KEYS[2]
local prefix, counter = ARGV[1], ARGV[2]
local flags, stale = still_stale(completed, prefix, 'destroy', 3, 2)
if #stale == 0 then return flags end
redis.call('SREM', completed, unpack(stale))
count(counters, counter, #stale)
return flags
