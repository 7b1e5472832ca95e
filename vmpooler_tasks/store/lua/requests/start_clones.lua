-- uses: pools/clone_start
-- uses: requests/status
-- uses: requests/put_item
-- Begins clones of a request's item, as long as there are slots; what is left of the item is put back in its place.
-- KEYS   1: items (zset)   2: the request   3: pending   4: slots   5: counter of the slots
-- ARGV   1: item   2: how many it asks for   3: its text before the count   4: its text behind the count
--        5: most slots   6: leased until   7: metadata prefix   8: work prefix
--        9: count of metadata words   10…: field, value, …   then: names to choose from
-- RETURN names begun; nil if the item is gone, or nobody waits for it any more (then it is removed)
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score then return nil end
if redis.call('EXISTS', KEYS[2]) == 0 or answer_to(KEYS[2]) then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return nil
end
local metadata, place = words_from(9)
local names = {}
for i = place, #ARGV do names[#names + 1] = ARGV[i] end
local count = tonumber(ARGV[2])
local room = tonumber(ARGV[5]) - redis.call('ZCARD', KEYS[4])
local begun = begin_clones(names, math.min(count, room), KEYS[3], KEYS[4], KEYS[5], ARGV[6], ARGV[7], ARGV[8], metadata, {})
if #begun == 0 and count > 0 then return begun end
redis.call('ZREM', KEYS[1], ARGV[1])
if count > #begun then put_item(KEYS[1], score, ARGV[3], count - #begun, ARGV[4]) end
return begun
