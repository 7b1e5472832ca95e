-- uses: pools/lease
-- A destruction has failed: it is tried again, but not at once.
-- KEYS   1: destructions   2: work
-- ARGV   1: VM   2: fence   3: epoch from which it may be tried again
-- RETURN 1; 0 if another has taken it over
if has_lost(KEYS[2], ARGV[2]) then return 0 end
redis.call('HDEL', KEYS[2], 'owner', 'fence')
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
return 1
