-- uses: pools/lease
-- uses: pools/breaker
-- Takes a clone on, if it is still wanted and nobody else works on it.
-- KEYS   1: pending   2: slots   3: counter of the slots   4: work   5: fences   6: breaker   7: metadata
--        8: template overrides   9: clone target overrides
-- ARGV   1: VM   2: owner   3: now   4: leased until   5: most attempts   6: pool   7: now, as VMPooler writes it
-- RETURN {outcome, fence, attempts, leased until, request, alias, clone, template override, clone target override}
--        outcome: ok, gone (it is not pending any more), done (it is made), busy (somebody else makes it), open (its
--        provider is left alone), worn (too many attempts)
local now = tonumber(ARGV[3])
local found = redis.call('HMGET', KEYS[7], 'request_id', 'pool_alias', 'clone', 'clone_time')
local function answer(outcome, fence, attempts, lease_end)
  local template, target = redis.call('HGET', KEYS[8], ARGV[6]), redis.call('HGET', KEYS[9], ARGV[6])
  return {outcome, fence or 0, attempts or 0, lease_end or '', found[1], found[2], found[3], template, target}
end
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  if not is_leased(KEYS[2], KEYS[4], ARGV[1], ARGV[2], now) then free_slot(KEYS[2], KEYS[3], ARGV[1]) end
  return answer('gone')
end
if found[4] then return answer('done') end
if is_leased(KEYS[2], KEYS[4], ARGV[1], ARGV[2], now) or is_delivered_twice(KEYS[2], KEYS[4], ARGV[1], ARGV[2], now) then
  return answer('busy')
end
local attempts = redis.call('HINCRBY', KEYS[4], 'attempts', 1)
local fence = take_work(KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[1], ARGV[2], ARGV[4])
if attempts > tonumber(ARGV[5]) then return answer('worn', fence, attempts) end
local closed_until = left_alone_until(KEYS[6], now, ARGV[4])
if closed_until then
  redis.call('HDEL', KEYS[4], 'owner', 'fence')
  redis.call('HINCRBY', KEYS[4], 'attempts', -1)
  set_slot(KEYS[2], KEYS[3], ARGV[1], closed_until)
  return answer('open', 0, 0, closed_until)
end
-- It ages from here: it may have waited for a worker or for its provider for longer than a clone may take.
redis.call('HSET', KEYS[7], 'clone', ARGV[7])
redis.call('HDEL', KEYS[7], 'timeout_notification')
found[3] = ARGV[7]
return answer('ok', fence, attempts)
