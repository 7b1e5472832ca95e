-- uses: pools/lease
-- Notes the DNS record of a VM that is cloned, before the record is made.
-- KEYS   1: work   2: records of the pool (hash)
-- ARGV   1: VM   2: fence   3: record
-- RETURN 1; 0 if another worker took the lease over
local work, records = KEYS[1], KEYS[2]
local vm, fence, record = unpack(ARGV)

if has_lost(work, fence) then return 0 end
redis.call('HSET', records, vm, record)
return 1
