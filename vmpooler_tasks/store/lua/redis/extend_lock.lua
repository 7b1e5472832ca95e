-- Sets when a lock expires; at once for 0 milliseconds.
-- KEYS   1: the lock (string)
-- ARGV   1: owner   2: milliseconds from now
-- RETURN 1; 0 if the owner has lost it
local lock, owner, milliseconds = KEYS[1], ARGV[1], ARGV[2]

if redis.pcall('GET', lock) ~= owner then return 0 end
return redis.call('PEXPIRE', lock, milliseconds)
