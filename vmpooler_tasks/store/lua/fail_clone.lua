#!lua flags=allow-oom
-- uses: work
-- uses: breaker
-- uses: letter
-- uses: retry_request
-- A clone has failed: its dead letter, out of pending, its slot free, its request tried again or failed, as one step; also
-- when Redis is out of memory.
-- KEYS   1: pending   2: slots   3: counter of the slots   4: work   5: breaker (of its provider or pool)   6: metadata
--        7: dead letters   8: ids   9: counters   10: the request   11: items of requests
-- ARGV   1: VM   2: fence ('' where it is not known)   3: owner   4: now   5: 1 if dead letters are kept
--        6: seconds to keep them   7: most of them   8: id   9: dead letter   10: seconds to keep metadata   11: error
--        12: its class   13: 1 if permanent   14: most retries of a request   15: item to be put back   16: reason
--        17: failures that open the breaker   18: seconds for which it opens
-- RETURN {state, dropped, expired, outcome of the request, its retries, breaker open until}
--        state: 1 failed now, 0 it had left pending (its letter is kept once all the same), -1 somebody else has it, or has made it
local now, vm = tonumber(ARGV[4]), ARGV[1]
if has_lost(KEYS[4], ARGV[2]) or is_leased(KEYS[2], KEYS[4], vm, ARGV[3], now) then return {-1, 0, 0, 'none', 0, ''} end
-- Made, whether it is still pending or has gone on: whoever reports this has been replaced by somebody who made it.
if redis.call('HEXISTS', KEYS[6], 'clone_time') == 1 then return {-1, 0, 0, 'none', 0, ''} end
local new, dropped, expired = 0, 0, 0
if ARGV[5] == '1' then
  -- First: if the letter cannot be written, the VM has not left.
  new, dropped, expired = push_letter(KEYS[7], KEYS[8], KEYS[9], 'clone', now, tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], ARGV[9])
end
local left = redis.call('SREM', KEYS[1], vm)
free_slot(KEYS[2], KEYS[3], vm)
redis.call('DEL', KEYS[4])
local outcome, retries, open_until = 'none', 0, nil
if left == 1 then
  redis.call('HSET', KEYS[6], 'clone_error', ARGV[11], 'clone_error_class', ARGV[12])
  redis.call('EXPIRE', KEYS[6], ARGV[10])
  if ARGV[15] ~= '' then
    outcome, retries = retry_request(KEYS[10], KEYS[11], ARGV[15], ARGV[13] == '1', tonumber(ARGV[14]), ARGV[16])
  end
  count(KEYS[9], 'clones_failed', 1)
  open_until = count_failure(KEYS[5], 'failures', now, tonumber(ARGV[17]), tonumber(ARGV[18]))
end
return {left, dropped, expired, outcome, retries, open_until or ''}
