#!lua flags=allow-oom
-- Let one of all callers through, and nobody else until its turn is over. It also works when Redis is out of memory, and when
-- somebody left a key of another type, or one that expires much later than a turn can.
-- KEYS   1: the turn (string)
-- ARGV   1: milliseconds until it is over
-- RETURN 1; 0 if another caller has the turn
local turn, milliseconds = KEYS[1], tonumber(ARGV[1])

local left = redis.call('PTTL', turn)
if left > 0 and left <= math.max(10 * milliseconds, 60000) then return 0 end
redis.call('SET', turn, '1', 'PX', milliseconds)
return 1
