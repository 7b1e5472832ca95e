#!lua flags=allow-oom
-- Record how an attempt to send a notification ended, and when the next one of this target is due.
-- KEYS   1: due (zset)   2: state (hash)   3: counters (hash)   4: notifications that wait for the target (list)
-- ARGV   1: target   2: the notification as it was claimed   3: result   4: 1 if it shall be tried again, else 0
--        5: seconds until then   6: field of attempts   7: field of the last attempt   8: error, '' for none
--        9: field of active alerts   10: active alerts, '' to leave them
-- RETURN 1 if the notification was still the oldest one, else 0
-- uses: redis/counters
-- uses: redis/numbers
local due, state, counters, list = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local target, claimed, result, try_again, delay = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1', tonumber(ARGV[5])
local attempts_field, last_field, error_text, alerts_field, alerts = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]

local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
count(counters, 'notifications:' .. result .. ':' .. target, 1)
redis.call('HSET', state, last_field, cjson.encode({ result = result, epoch = now, error = error_text }))
if alerts ~= '' then redis.call('HSET', state, alerts_field, alerts) end

local is_oldest = redis.call('LINDEX', list, 0) == claimed
if try_again then
  add_to_count(state, attempts_field, 1)
  redis.call('ZADD', due, now + delay, target)
  return is_oldest and 1 or 0
end
if is_oldest then redis.call('LPOP', list) end
redis.call('HDEL', state, attempts_field)
if redis.call('LLEN', list) > 0 then
  redis.call('ZADD', due, now, target)
else
  redis.call('ZREM', due, target)
end
return is_oldest and 1 or 0
