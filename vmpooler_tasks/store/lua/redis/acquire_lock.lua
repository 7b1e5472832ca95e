-- Acquires a lock that is free. A lock without an expiry, one that ends later than a lock can, and a key of another type
-- belong to nobody: no live process wrote them, and they would block for ever.
-- KEYS   1: the lock (string)
-- ARGV   1: owner   2: milliseconds until it expires   3: maximum of milliseconds of a lock
-- RETURN 1; 0 if another owner has it
local lock = KEYS[1]
local owner, milliseconds, max_milliseconds = ARGV[1], ARGV[2], tonumber(ARGV[3])

local left, holder = redis.call('PTTL', lock), redis.pcall('GET', lock)
if left > 0 and left <= max_milliseconds and type(holder) == 'string' and holder ~= owner then return 0 end
redis.call('SET', lock, owner, 'PX', milliseconds)
return 1
