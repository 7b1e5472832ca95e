-- Claims one due tick of the schedule for one beat, for as long as it takes to send it.
-- KEYS   1: schedule (hash: entry -> epoch of its last tick, entry:claim -> epoch until which it is claimed)
-- ARGV   1: entry   2: last tick as this beat read it ('' for never)   3: now   4: claimed until
-- RETURN 1 if claimed, 0 if another beat was first
local claim = ARGV[1] .. ':claim'
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if tonumber(redis.call('HGET', KEYS[1], claim) or 0) > tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], claim, ARGV[4])
return 1
