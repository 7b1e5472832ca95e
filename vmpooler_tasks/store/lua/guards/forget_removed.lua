-- Remove the records of a pool that is in no configuration and has no VM in any queue.
-- KEYS   1: removed pools (hash)   2: kept pools (hash)   3: managed pools (hash)   4: VMPooler's flag of an empty pool
--        5: the pool's circuit breaker   6...: the pool's queues
-- ARGV   1: pool
-- RETURN 1 if it has no VM and is removed, else 0
local removed, kept, managed, empty, breaker = unpack(KEYS, 1, 5)
local pool = ARGV[1]

if redis.call('HEXISTS', removed, pool) == 0 then return 0 end
for i = 6, #KEYS do
  if redis.call('SCARD', KEYS[i]) > 0 then return 0 end
end
redis.call('HDEL', removed, pool)
redis.call('HDEL', kept, pool)
redis.call('HDEL', managed, pool)
redis.call('DEL', empty, breaker)
return 1
