-- Remove the registration of a pool, unless it is in a configuration again.
-- KEYS   1: registered pools (set)   2: the pool's settings (hash)   3: removed pools (hash)
-- ARGV   1: pool
-- RETURN 1 if it was registered, else 0
local pools, settings, removed = KEYS[1], KEYS[2], KEYS[3]
local pool = ARGV[1]

if redis.call('HEXISTS', removed, pool) == 0 then return 0 end
redis.call('DEL', settings)
return redis.call('SREM', pools, pool)
