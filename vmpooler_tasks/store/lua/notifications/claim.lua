#!lua flags=allow-oom
-- Claim the oldest notification of one target whose next attempt is due. Nobody else gets it until the lease ends, so
-- that a sender that is killed loses nothing.
-- KEYS   1: due (zset)   2: state (hash)   3…: notifications that wait, one list for each target
-- ARGV   1: seconds of the lease   2: prefix of the field of attempts   3: prefix of the field of active alerts
--        4: longest time in seconds that a target waits; one that waits longer is due, since a clock was wrong
--        5…: the name of each target
-- RETURN nil if nothing is due; else target, notification, attempts that failed, active alerts, now
local due, state, first_list = KEYS[1], KEYS[2], 3
local lease_seconds, attempts_prefix, alerts_prefix, max_wait, first_target =
  tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4]), 5

local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
for number = 0, #ARGV - first_target do
  local target, list = ARGV[first_target + number], KEYS[first_list + number]
  local at = tonumber(redis.call('ZSCORE', due, target) or '')
  if at and (at <= now or at > now + max_wait) then
    local oldest = redis.call('LINDEX', list, 0)
    if oldest then
      redis.call('ZADD', due, now + lease_seconds, target)
      return {
        target, oldest, redis.call('HGET', state, attempts_prefix .. target) or '0',
        redis.call('HGET', state, alerts_prefix .. target) or '{}', string.format('%.3f', now) }
    end
    redis.call('ZREM', due, target)
    redis.call('HDEL', state, attempts_prefix .. target)
  end
end
return false
