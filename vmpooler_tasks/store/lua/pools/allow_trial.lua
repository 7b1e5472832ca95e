#!lua flags=allow-oom
-- uses: redis/numbers
-- Shortens the suspension of a provider or pool to now, so that one clone may try it, and wakes the clones that wait for its end.
-- The suspension itself ends when a clone succeeds. Recorded in the audit; also while Redis is out of memory.
-- KEYS   1: breaker   2: audit (stream)   3…: slots of clones
-- ARGV   1: now   2: maximum of audit entries   3…: audit field, value, … (none: no entry)
-- RETURN trial (one clone may start), trial_due (it may start already), trial_running (it has started), not_suspended
local breaker, audit = KEYS[1], KEYS[2]
local now, max_audit_entries = ARGV[1], ARGV[2]

local open_until, trial_until = unpack(redis.call('HMGET', breaker, 'open_until', 'trial_until'))
if not open_until then return 'not_suspended' end
if (number_of(open_until) or 0) <= tonumber(now) then
  return (number_of(trial_until) or 0) > tonumber(now) and 'trial_running' or 'trial_due'
end
if #ARGV > 2 then redis.call('XADD', audit, 'MAXLEN', '~', max_audit_entries, '*', unpack(ARGV, 3)) end
redis.call('HSET', breaker, 'open_until', now)
redis.call('HDEL', breaker, 'trial_until')
for k = 3, #KEYS do
  -- A clone that found the provider suspended is leased until the end of the suspension, to the millisecond.
  for _, vm in ipairs(redis.call('ZRANGEBYSCORE', KEYS[k], open_until, open_until)) do
    redis.call('ZADD', KEYS[k], 'XX', now, vm)
  end
end
return 'trial'
