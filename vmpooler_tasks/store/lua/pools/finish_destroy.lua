-- uses: pools/lease
-- A VM is destroyed: out of completed.
-- KEYS   1: completed   2: destructions   3: work   4: active   5: counters
-- ARGV   1: VM   2: fence
-- RETURN 1; 0 if another has taken it over
if has_lost(KEYS[3], ARGV[2]) then return 0 end
redis.call('SREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[3])
redis.pcall('HINCRBY', KEYS[5], 'vms_destroyed', 1)
return 1
