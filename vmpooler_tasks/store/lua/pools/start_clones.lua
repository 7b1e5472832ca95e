-- uses: pools/add_clones
-- Starts as many clones of a pool as it needs to reach its size and as slots are free.
-- KEYS   1: pending   2: ready   3: slots (zset)   4: counter of the slots
-- ARGV   1: size   2: maximum of slots   3: end of the lease   4: metadata prefix   5: work prefix
--        6: count of metadata words   7…: field, value, …   then: names to choose from
-- RETURN {names of the clones, VMs in ready, VMs in pending}
local pending, ready, slots, counter = unpack(KEYS)
local size, max_slots, lease_end, vm_prefix, work_prefix = unpack(ARGV, 1, 5)
local metadata, first_name = counted_words(6)
local names = words_from(first_name)

local in_pending, in_ready = redis.call('SCARD', pending), redis.call('SCARD', ready)
local needed = tonumber(size) - in_pending - in_ready
local free = tonumber(max_slots) - redis.call('ZCARD', slots)
local added = add_clones(names, math.min(needed, free), pending, slots, counter, lease_end, vm_prefix, work_prefix, metadata, {})
return {added, in_ready, in_pending + #added}
