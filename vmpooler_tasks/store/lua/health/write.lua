#!lua flags=allow-oom
-- Write the health status, its history and the state of the checks in one step. It also works when Redis is out of memory,
-- which is when the status is needed.
-- KEYS   1: vmpooler__health (hash)   2: history (zset)   3: state of the checks (hash)   4: watched facts (hash)
-- ARGV   1: now   2: seconds until the status expires   3: 1 if this write prolongs that, 0 if an expiry that is set stays
--        4: epoch of the oldest check that is kept   5: maximum of checks kept   6: the check, for the history
--        7: digest of the configuration   8: the watched facts that this check saw   9: seconds that the facts are kept
--        10: count of state words   11…: state field, value, …   then: status field, value, …
-- RETURN OK
local health, history, state, watched = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, expires_in, prolongs = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local oldest_kept, max_kept, check = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local configuration, facts, facts_kept_seconds = ARGV[7], ARGV[8], ARGV[9]
local first_state = 11
local first_status = first_state + tonumber(ARGV[10])

local left_ms = redis.call('PTTL', health)
if prolongs or left_ms <= 0 then left_ms = expires_in * 1000 end
redis.call('DEL', health)
redis.call('HSET', health, unpack(ARGV, first_status))
redis.call('PEXPIRE', health, left_ms)
-- A key of the wrong type is a reason in the status, and must not prevent it.
if type(redis.pcall('HSET', watched, configuration, facts)) == 'number' then
  redis.call('EXPIRE', watched, facts_kept_seconds)
end
if type(redis.pcall('ZADD', history, now, check)) == 'number' then
  redis.call('ZREMRANGEBYSCORE', history, '-inf', '(' .. oldest_kept)
  redis.call('ZREMRANGEBYRANK', history, 0, -1 - max_kept)
end
redis.call('DEL', state)
redis.call('HSET', state, unpack(ARGV, first_state, first_status - 1))
return redis.status_reply('OK')
