-- uses: pools/add_clones
-- Starts as many clones of a pool as it needs to reach its size and as slots are free; none while the pool is paused.
-- KEYS   1: pending   2: ready   3: slots (zset)   4: counter of the slots   5: watch for other managers (hash)
--        6: paused pools (hash)   7: when each pool moved (hash)
-- ARGV   1: pool   2: size   3: maximum of slots   4: end of the lease   5: metadata prefix   6: work prefix
--        7: now   8: count of metadata words   9…: field, value, …   then: names to choose from
-- RETURN {names of the clones, VMs in ready, VMs in pending}
local pending, ready, slots, counter, paused, moved = KEYS[1], KEYS[2], KEYS[3], {KEYS[4], KEYS[5]}, KEYS[6], KEYS[7]
local pool, size, max_slots, lease_end, vm_prefix, work_prefix, now = unpack(ARGV, 1, 7)
local metadata, first_name = counted_words(8)
local names = words_from(first_name)

local in_pending, in_ready = redis.call('SCARD', pending), redis.call('SCARD', ready)
if redis.call('HEXISTS', paused, pool) == 1 then return {{}, in_ready, in_pending} end
local needed = tonumber(size) - in_pending - in_ready
local free = tonumber(max_slots) - redis.call('ZCARD', slots)
local added = add_clones(names, math.min(needed, free), pending, slots, counter, lease_end, vm_prefix, work_prefix, metadata, {})
if needed <= 0 or #added > 0 then
  redis.pcall('HSET', moved, pool, now)  -- a hash of the wrong type does not stop the work: it is only shown
end
return {added, in_ready, in_pending + #added}
