-- Removes the records of a pool that is in no configuration and has no VM in any queue.
-- An order to keep the pool ends with its last VM. While DNS records are noted, the pool stays removed.
-- KEYS   1: removed pools (hash)   2: kept pools (hash)   3: managed pools (hash)   4: VMPooler's flag of an empty pool
--        5: the pool's circuit breaker   6: notes of its DNS records (hash)   7...: the pool's queues
-- ARGV   1: pool   2: notes that may stay
-- RETURN 1 if it is removed, has no VM, and has no more notes than may stay, else 0
local removed, kept, managed, empty, breaker, records = unpack(KEYS, 1, 6)
local pool, may_stay = ARGV[1], tonumber(ARGV[2])

if redis.call('HEXISTS', removed, pool) == 0 then return 0 end
for i = 7, #KEYS do
  if redis.call('SCARD', KEYS[i]) > 0 then return 0 end
end
redis.call('HDEL', kept, pool)
if redis.call('HLEN', records) > may_stay then return 0 end
redis.call('HDEL', removed, pool)
redis.call('HDEL', managed, pool)
redis.call('DEL', empty, breaker)
return 1
