-- Compares VMPooler's counter of clones with the slots in use, which nobody else writes, and puts it right.
-- KEYS   1: counter   2: slots   3: sightings of another manager
-- ARGV   1: seconds to remember a sighting
-- RETURN sightings lately, if it is wrong now; else 0
local shown, used = redis.call('GET', KEYS[1]), redis.call('ZCARD', KEYS[2])
if not shown or tonumber(shown) == used then return 0 end
redis.call('SET', KEYS[1], used)
local seen = redis.call('INCR', KEYS[3])
redis.call('EXPIRE', KEYS[3], ARGV[1])
return seen
