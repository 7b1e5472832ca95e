#!lua flags=allow-oom
-- Write the health status, its history and the state of the checks in one step. It also works when Redis is out of memory,
-- which is when the status is needed.
-- KEYS   1: vmpooler__health (hash)   2: history (zset)   3: state of the checks (hash)
-- ARGV   1: now   2: seconds until the status expires   3: epoch of the oldest check that is kept   4: maximum of checks kept
--        5: the check, for the history   6: count of state words   7…: state field, value, …   then: status field, value, …
-- RETURN OK
local health, history, state = KEYS[1], KEYS[2], KEYS[3]
local now, expires_in, oldest_kept, max_kept, check = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local first_state = 7
local first_status = first_state + tonumber(ARGV[6])

redis.call('DEL', health)
redis.call('HSET', health, unpack(ARGV, first_status))
redis.call('EXPIRE', health, expires_in)
-- A history of the wrong type is a reason in the status, and must not prevent it.
if type(redis.pcall('ZADD', history, now, check)) == 'number' then
  redis.call('ZREMRANGEBYSCORE', history, '-inf', '(' .. oldest_kept)
  redis.call('ZREMRANGEBYRANK', history, 0, -1 - max_kept)
end
redis.call('DEL', state)
redis.call('HSET', state, unpack(ARGV, first_state, first_status - 1))
return redis.status_reply('OK')
