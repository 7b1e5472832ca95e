#!lua flags=allow-oom
-- uses: pools/pause_state
-- Pauses a pool, and records that in the audit; also while Redis is out of memory. A pause of the same state stays as it is.
-- KEYS   1: paused pools (hash)   2: audit (stream)
-- ARGV   1: pool   2: state (paused, draining)   3: the pause (JSON)   4: maximum of audit entries
--        5…: audit field, value, …
-- RETURN the pause before (JSON); '' if there was none
local paused, audit = KEYS[1], KEYS[2]
local pool, state, pause, max_audit_entries = unpack(ARGV, 1, 4)

local before = redis.call('HGET', paused, pool)
if pause_state(paused, pool) == state then return before end
redis.call('XADD', audit, 'MAXLEN', '~', max_audit_entries, '*', unpack(ARGV, 5))
redis.call('HSET', paused, pool, pause)
return before or ''
