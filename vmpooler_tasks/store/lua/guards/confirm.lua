#!lua flags=allow-oom
-- uses: guards/brake
-- Releases the brake of a pool once, for as many VMs as it holds now, and records that in the audit; also while Redis is out of
-- memory.
-- KEYS   1: brakes (hash)   2: audit (stream)
-- ARGV   1: pool   2: maximum of audit entries   3…: audit field, value, …
-- RETURN {result, the brake before (JSON)}; result: confirmed, confirmed_already, not_engaged
local brakes, audit = KEYS[1], KEYS[2]
local pool, max_audit_entries = ARGV[1], ARGV[2]

local before = redis.call('HGET', brakes, pool)
if not before then return {'not_engaged', ''} end
if not is_engaged(brakes, pool) then return {'confirmed_already', before} end
local brake = read_brake(brakes, pool)
local count = (tonumber(brake.strays) or 0) + (tonumber(brake.missing) or 0)
brake.confirmed = count
redis.call('XADD', audit, 'MAXLEN', '~', max_audit_entries, '*', 'count', count, unpack(ARGV, 3))
redis.call('HSET', brakes, pool, cjson.encode(brake))
return {'confirmed', before}
