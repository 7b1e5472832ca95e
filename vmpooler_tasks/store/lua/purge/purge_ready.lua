-- uses: purge/still_stale
-- uses: redis/counters
-- Moves stale VMs from ready to completed, where they wait for their destruction.
-- KEYS   1: ready   2: completed   3: counters
-- ARGV   1: metadata prefix   2: counter   3…: VM, its `ready` as it was read
-- RETURN 1 or 0 for each VM; 0: it moved or changed meanwhile, and stays
local ready, completed, counters = KEYS[1], KEYS[2], KEYS[3]
local prefix, counter = ARGV[1], ARGV[2]
local flags, stale = still_stale(ready, prefix, 'ready', 3, 2)
if #stale == 0 then return flags end
redis.call('SADD', completed, unpack(stale))  -- first: a key of the wrong type is refused before a VM has left
redis.call('SREM', ready, unpack(stale))
count(counters, counter, #stale)
return flags
