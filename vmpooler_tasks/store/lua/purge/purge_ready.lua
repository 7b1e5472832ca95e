-- uses: purge/still_stale
-- uses: redis/counters
-- Moves stale VMs from ready to completed, where they wait for their destruction.
-- KEYS   1: ready   2: completed   3: counters
-- ARGV   1: metadata prefix   2: counter   3…: VM, its `ready` as it was read
-- RETURN 1 or 0 for each VM; 0: it moved or changed meanwhile, and was left alone
local flags, stale = still_stale(KEYS[1], ARGV[1], 'ready', 3, 2)
if #stale == 0 then return flags end
redis.call('SADD', KEYS[2], unpack(stale))  -- first: a key of the wrong type is refused before a VM has left
redis.call('SREM', KEYS[1], unpack(stale))
count(KEYS[3], ARGV[2], #stale)
return flags
