-- uses: pools/clone_start
-- Begins as many clones of a pool as it is short of, as long as there are slots.
-- KEYS   1: pending   2: ready   3: slots (zset)   4: counter of the slots
-- ARGV   1: size   2: most slots   3: leased until   4: metadata prefix   5: work prefix
--        6: count of metadata words   7…: field, value, …   then: names to choose from
-- RETURN {names begun, ready, pending}
local metadata, place = words_from(6)
local names = {}
for i = place, #ARGV do names[#names + 1] = ARGV[i] end
local pending, ready = redis.call('SCARD', KEYS[1]), redis.call('SCARD', KEYS[2])
local short = tonumber(ARGV[1]) - pending - ready
local room = tonumber(ARGV[2]) - redis.call('ZCARD', KEYS[3])
local begun = begin_clones(names, math.min(short, room), KEYS[1], KEYS[3], KEYS[4], ARGV[3], ARGV[4], ARGV[5], metadata, {})
return {begun, ready, pending + #begun}
