#!lua flags=allow-oom
-- uses: pools/lease
-- uses: pools/breaker
-- uses: deadletters/push_one
-- uses: requests/retry
-- A clone has failed: its dead letter, out of pending, its slot free, its request tried again or failed, as one step; also
-- when Redis is out of memory.
-- KEYS   1: pending   2: slots   3: counter of the slots   4: work   5: breaker (of its provider or pool)   6: metadata
--        7: dead letters   8: ids   9: counters   10: the request   11: items of requests
-- ARGV   1: VM   2: owner   3: now   4: seconds to keep dead letters   5: maximum count of them   6: page (see limits_from)   7: id
--        8: dead letter   9: seconds to keep metadata   10: error   11: its class   12: 1 if permanent
--        13: most retries of a request   14: item to be put back   15: reason   16: failures that open the breaker
--        17: seconds for which it opens
-- RETURN {state, dropped, expired, outcome of the request, its retries, breaker open until}
--        state: 1 failed now, 0 it had left pending (its letter is kept once all the same), -1 somebody else has it, or has made it
local now, vm = tonumber(ARGV[3]), ARGV[1]
if is_leased(KEYS[2], KEYS[4], vm, ARGV[2], now) then return {-1, 0, 0, 'none', 0, ''} end
-- Made, whether it is still pending or has gone on: whoever reports this has been replaced by somebody who made it.
if redis.call('HEXISTS', KEYS[6], 'clone_time') == 1 then return {-1, 0, 0, 'none', 0, ''} end
local new, dropped, expired = 0, 0, 0
local limits = limits_from(4)
if limits then
  -- First: if the dead letter cannot be written, the VM has not left.
  new, dropped, expired = push_dead_letter(KEYS[7], KEYS[8], KEYS[9], 'clone', now, limits, ARGV[7], ARGV[8])
end
local left = redis.call('SREM', KEYS[1], vm)
free_slot(KEYS[2], KEYS[3], vm)
forget_clone(KEYS[4])
local outcome, retries, open_until = 'none', 0, nil
if left == 1 then
  redis.call('HSET', KEYS[6], 'clone_error', ARGV[10], 'clone_error_class', ARGV[11])
  redis.call('EXPIRE', KEYS[6], ARGV[9])
  if ARGV[14] ~= '' then
    outcome, retries = retry_request(KEYS[10], KEYS[11], ARGV[14], ARGV[12] == '1', tonumber(ARGV[13]), ARGV[15])
  end
  count(KEYS[9], 'clones_failed', 1)
  open_until = count_failure(KEYS[5], 'failures', now, tonumber(ARGV[16]), tonumber(ARGV[17]))
end
return {left, dropped, expired, outcome, retries, open_until or ''}
