-- uses: purge/still_stale
-- uses: redis/counters
-- Takes stale VMs out of completed.
-- KEYS   1: completed   2: counters
-- ARGV   1: metadata prefix   2: counter   3…: VM, its `destroy` as it was read
-- RETURN 1 or 0 for each VM; 0: it moved or changed meanwhile, and was left alone
local flags, stale = still_stale(KEYS[1], ARGV[1], 'destroy', 3, 2)
if #stale == 0 then return flags end
redis.call('SREM', KEYS[1], unpack(stale))
count(KEYS[2], ARGV[2], #stale)
return flags
