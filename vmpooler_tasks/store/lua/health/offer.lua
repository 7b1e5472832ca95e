#!lua flags=allow-oom
-- Write the health status of a process that may only observe, unless another program wrote it. The status has the field
-- observed_check: the last_check of such a process. It differs from last_check after another program wrote.
-- KEYS   1: vmpooler__health (hash)
-- ARGV   1: last_check of another program that may be replaced ('' for none)   2: seconds until the status expires
--        3…: status field, value, …
-- RETURN 1 if it was written, 0 if another program's status stays
local health = KEYS[1]
local replaceable, expires_in = ARGV[1], ARGV[2]
local first_status = 3

if redis.call('EXISTS', health) == 1 then
  local found = redis.call('HMGET', health, 'last_check', 'observed_check')
  local last_check, observed_check = found[1] or '', found[2]
  local is_replaceable = replaceable ~= '' and last_check == replaceable
  if last_check ~= observed_check and not is_replaceable then return 0 end
end
redis.call('DEL', health)
redis.call('HSET', health, unpack(ARGV, first_status))
redis.call('HSET', health, 'observed_check', redis.call('HGET', health, 'last_check'))
redis.call('EXPIRE', health, expires_in)
return 1
