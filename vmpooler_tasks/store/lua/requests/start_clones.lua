-- uses: pools/add_clones
-- uses: requests/status
-- uses: requests/count_wanted
-- uses: requests/count_missing
-- uses: requests/put_item
-- Starts clones of one queued item, as many as slots are free, and no more than its request still lacks: another manager may
-- have started some of them. The rest of the item is queued again in its place. While the pool is paused the item waits.
-- A request that no list of open requests names is being filled from now on: its manager died while it accepted it.
-- KEYS   1: items (zset)   2: the request   3: pending   4: slots   5: counter of the slots
--        6: watch for other managers (hash)   7: paused pools (hash)   8: delivered to the request   9: running
--        10: requests waiting   11: requests being filled
-- ARGV   1: item   2: how many it asks for   3: its text before the count   4: its text behind the count
--        5: maximum of slots   6: end of the lease   7: metadata prefix   8: work prefix
--        9: pool   10: request   11: alias   12: now
--        13: count of metadata words   14…: field, value, …   then: names to choose from
-- RETURN names of the clones; nil if the item is gone, or is removed because its request is closed or lacks no VM
local items, request, pending, slots, counter = KEYS[1], KEYS[2], KEYS[3], KEYS[4], {KEYS[5], KEYS[6]}
local paused, delivered, running, waiting, filling = unpack(KEYS, 7)
local item, wanted, before, behind, max_slots, lease_end, vm_prefix, work_prefix, pool = unpack(ARGV, 1, 9)
local id, alias, now = unpack(ARGV, 10, 12)
local metadata, first_name = counted_words(13)
local names = words_from(first_name)

local score = redis.call('ZSCORE', items, item)
if not score then return nil end
if redis.call('EXISTS', request) == 0 or final_status(request) then
  redis.call('ZREM', items, item)
  return nil
end
if not redis.call('ZSCORE', waiting, id) then redis.call('ZADD', filling, 'LT', now, id) end
local of_part = count_wanted(redis.call('HGET', request, 'requested'), before)
local missing = of_part - count_present(delivered, running, pending, vm_prefix, id, alias)
if missing <= 0 then
  redis.call('ZREM', items, item)
  return nil
end
if redis.call('HEXISTS', paused, pool) == 1 then return {} end
wanted = math.min(tonumber(wanted), missing)
local free = tonumber(max_slots) - redis.call('ZCARD', slots)
local added = add_clones(names, math.min(wanted, free), pending, slots, counter, lease_end, vm_prefix, work_prefix, metadata, {})
if #added == 0 and wanted > 0 then return added end
redis.call('ZREM', items, item)
if wanted > #added then put_item(items, score, before, wanted - #added, behind) end
return added
