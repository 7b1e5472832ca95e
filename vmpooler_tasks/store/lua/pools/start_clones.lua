-- uses: pools/add_clones
-- Starts as many clones of a pool as it needs to reach its size and as slots are free; none while the pool is paused.
-- KEYS   1: pending   2: ready   3: slots (zset)   4: counter of the slots   5: paused pools (hash)
-- ARGV   1: pool   2: size   3: maximum of slots   4: end of the lease   5: metadata prefix   6: work prefix
--        7: count of metadata words   8…: field, value, …   then: names to choose from
-- RETURN {names of the clones, VMs in ready, VMs in pending}
local pending, ready, slots, counter, paused = unpack(KEYS)
local pool, size, max_slots, lease_end, vm_prefix, work_prefix = unpack(ARGV, 1, 6)
local metadata, first_name = counted_words(7)
local names = words_from(first_name)

local in_pending, in_ready = redis.call('SCARD', pending), redis.call('SCARD', ready)
if redis.call('HEXISTS', paused, pool) == 1 then return {{}, in_ready, in_pending} end
local needed = tonumber(size) - in_pending - in_ready
local free = tonumber(max_slots) - redis.call('ZCARD', slots)
local added = add_clones(names, math.min(needed, free), pending, slots, counter, lease_end, vm_prefix, work_prefix, metadata, {})
return {added, in_ready, in_pending + #added}
