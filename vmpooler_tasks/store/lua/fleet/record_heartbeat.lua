#!lua flags=allow-oom
-- Record the heartbeat of a process with the server's time, and remove those that are too old, in one step.
-- It also works when Redis is out of memory: a process that is alive must not count as dead.
-- KEYS   1: heartbeats (hash: process -> epoch and record)   2: times (zset: process -> epoch)
--        3: list of the pools of its configuration (set)
-- ARGV   1: process   2: its record   3: seconds that a heartbeat is kept   4: seconds that the list is kept
-- RETURN the server's time as text, and 1 if the list exists
local heartbeats, times, list = KEYS[1], KEYS[2], KEYS[3]
local process, record, kept_seconds, list_seconds = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])

redis.call('HSET', heartbeats, process, now .. ' ' .. record)
redis.call('ZADD', times, now, process)
for _, old in ipairs(redis.call('ZRANGE', times, '-inf', '(' .. (time[1] - kept_seconds), 'BYSCORE')) do
  redis.call('HDEL', heartbeats, old)
  redis.call('ZREM', times, old)
end
return {now, redis.call('EXPIRE', list, list_seconds)}
