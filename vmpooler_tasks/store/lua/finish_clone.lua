-- uses: work
-- A clone is made: keeps what is known of it, frees its slot, and closes its provider's breaker.
-- KEYS   1: pending   2: slots   3: counter of the slots   4: work   5: breaker   6: metadata   7: statistics
-- ARGV   1: VM   2: fence   3: statistics' field   4: seconds it took   5…: field, value, …
-- RETURN 1; 0 if another has taken it over; -1 if it has left pending meanwhile
if has_lost(KEYS[4], ARGV[2]) then return 0 end
free_slot(KEYS[2], KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[4], 'owner', 'fence', 'attempts')
redis.call('DEL', KEYS[5])
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then return -1 end
redis.call('HSET', KEYS[6], unpack(ARGV, 5))
redis.call('HSET', KEYS[7], ARGV[3], ARGV[4])
redis.call('EXPIRE', KEYS[7], 604800)
return 1
