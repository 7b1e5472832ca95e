#!lua flags=allow-oom
-- Ends the pause of a pool, and records that in the audit; also while Redis is out of memory.
-- KEYS   1: paused pools, or kept ones (hash)   2: audit (stream)
-- ARGV   1: pool   2: maximum of audit entries   3…: audit field, value, …
-- RETURN the pause that ended (JSON); '' if there was none
local paused, audit = KEYS[1], KEYS[2]
local pool, max_audit_entries = ARGV[1], ARGV[2]

local before = redis.call('HGET', paused, pool)
if not before then return '' end
redis.call('XADD', audit, 'MAXLEN', '~', max_audit_entries, '*', unpack(ARGV, 3))
redis.call('HDEL', paused, pool)
return before
