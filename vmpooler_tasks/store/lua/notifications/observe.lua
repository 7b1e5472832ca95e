#!lua flags=allow-oom
-- Compare the health status with the one of which the targets know. Once it has differed for long enough, add a
-- notification for each target. Works also while Redis is out of memory, which is when it is needed.
-- KEYS   1: state (hash)   2: due (zset: target -> epoch of the next attempt)   3: counters (hash)
--        4…: notifications that wait, one list for each target
-- ARGV   1: status   2: seconds that it must differ   3: seconds between two reminders   4: id of the notification
--        5: its reasons, JSON   6: maximum of notifications that wait for a target   7: seconds until they expire
--        8: name of the status without reasons   9…: for each target its name, and 1 if only the newest notification
--        counts for it, which then also gets reminders, else 0
-- RETURN the event, '' if there is none; then the names of targets for which the oldest notification was dropped
-- uses: redis/counters
-- uses: redis/numbers
local state, due, counters, first_list = KEYS[1], KEYS[2], KEYS[3], 4
local status, must_hold, reminder_seconds, id, reasons = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local max_waiting, expires_in, healthy, first_target = tonumber(ARGV[6]), ARGV[7], ARGV[8], 9

local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local known, differs_since, since, reminded = unpack(
  redis.call('HMGET', state, 'status', 'differs_since', 'since', 'reminded'))
known = known or healthy
local previous = known
local event = ''

if status == known then
  redis.call('HDEL', state, 'differs_since')
  if status ~= healthy and math.abs(now - (number_of(reminded) or 0)) >= reminder_seconds then event = 'reminder' end
else
  differs_since = number_of(differs_since)
  if not differs_since or differs_since > now then
    differs_since = now
    redis.call('HSET', state, 'differs_since', string.format('%.3f', now))
  end
  if now - differs_since >= must_hold then
    event, since = 'status_changed', string.format('%.3f', differs_since)
    redis.call('HSET', state, 'status', status, 'since', since)
    redis.call('HDEL', state, 'differs_since')
  end
end
if event == '' then return { '' } end

redis.call('HSET', state, 'reminded', string.format('%.3f', now))
local message = cjson.encode({
  id = id, event = event, status = status, previous = previous, since = since or string.format('%.3f', now),
  epoch = string.format('%.3f', now), reasons = reasons })
local result = { event }
for number = 0, (#ARGV - first_target - 1) / 2 do
  local list, target = KEYS[first_list + number], ARGV[first_target + 2 * number]
  local only_newest = ARGV[first_target + 2 * number + 1] == '1'
  if only_newest or event ~= 'reminder' then
    if only_newest then redis.call('DEL', list) end
    redis.call('RPUSH', list, message)
    if redis.call('LLEN', list) > max_waiting then
      redis.call('LPOP', list)
      count(counters, 'notifications:dropped:' .. target, 1)
      table.insert(result, target)
    end
    redis.call('EXPIRE', list, expires_in)
    redis.call('ZADD', due, 'NX', now, target)
  end
end
return result
