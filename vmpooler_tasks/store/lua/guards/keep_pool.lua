-- Keep the VMs of a pool that left the configuration. An order that stands already stays, and the audit gets no entry.
-- KEYS   1: kept pools (hash)   2: audit (stream)
-- ARGV   1: pool   2: record of the order   3: maximum length of the audit   4...: field, value, ... of its entry
-- RETURN the order before, or false
local kept, audit = KEYS[1], KEYS[2]
local pool, record, max_length = ARGV[1], ARGV[2], ARGV[3]

local before = redis.call('HGET', kept, pool)
if before then return before end
redis.call('HSET', kept, pool, record)
redis.call('XADD', audit, 'MAXLEN', '~', max_length, '*', unpack(ARGV, 4))
return false
