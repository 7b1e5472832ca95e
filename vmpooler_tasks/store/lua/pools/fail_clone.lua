#!lua flags=allow-oom
-- uses: pools/lease
-- uses: pools/breaker
-- uses: pools/pool_breaker
-- uses: pools/progress
-- uses: deadletters/push_one
-- uses: requests/retry
-- Fails a clone in one step: writes its dead letter, removes the VM from pending, frees its slot, retries or fails its request,
-- and counts the failure. It also works when Redis is out of memory.
-- KEYS   1: pending   2: slots   3: counter of the slots   4: watch for other managers (hash)   5: work
--        6: breaker of its provider   7: metadata   8: dead letters   9: ids   10: counters   11: the request
--        12: items of requests   13: progress   14: breaker of its pool
-- ARGV   1: VM   2: owner   3: now   4: seconds to keep metadata   5: error   6: its class
--        7…10: limits of the breakers (see breaker_limits_from)
--        11: queue of dead letters   12: seconds to keep them   13: maximum of them   14: maximum bytes
--        15: page (see limits_from)   16: id   17: dead letter
--        18: 1 if the error is permanent   19: maximum retries of a request   20: item to queue again   21: reason
--        22: the error as the breaker keeps it, on one line   23: pool   24: 1 if the failure counts against the pool alone
-- RETURN {state, dropped, expired, outcome of the request, its retries, the provider is suspended until, the pool is}
--        state: 1 failed now; 0 it had left pending (its dead letter is written once all the same); -1 another worker holds
--        the lease, or has finished the clone
local pending, slots, counter = KEYS[1], KEYS[2], {KEYS[3], KEYS[4]}
local work, breaker, metadata, dead_letters, ids, counters, request, items, progress, pool_breaker =
  unpack(KEYS, 5)
local vm, owner, now, keep_seconds, error_message, error_class = unpack(ARGV, 1, 6)
local queue, limits, id, member = ARGV[11], limits_from(12), ARGV[16], ARGV[17]
local permanent, max_retries, item, reason, error_line, pool, of_pool = unpack(ARGV, 18, 24)
now = tonumber(now)

if is_leased(slots, work, vm, owner, now) then return {-1, 0, 0, 'none', 0, '', ''} end
-- A finished clone, pending or not: another worker replaced the one that reports this failure.
if redis.call('HEXISTS', metadata, 'clone_time') == 1 then return {-1, 0, 0, 'none', 0, '', ''} end
local new, dropped, expired = 0, 0, 0
if limits then
  -- First: if the dead letter cannot be written, the VM stays where it is.
  new, dropped, expired = push_dead_letter(dead_letters, ids, counters, queue, now, limits, id, member)
end
local removed = redis.call('SREM', pending, vm)
free_slot(slots, counter, vm)
note_end(progress, 'clones')
forget_clone(work)
local outcome, retries, suspended_until, pool_until = 'none', 0, nil, nil
if removed == 1 then
  redis.call('HSET', metadata, 'clone_error', error_message, 'clone_error_class', error_class)
  redis.call('EXPIRE', metadata, keep_seconds)
  outcome, retries = retry_request(request, items, item, permanent == '1', tonumber(max_retries), reason)
  count(counters, 'clones_failed', 1)
  local breaker_limits = breaker_limits_from(7)
  if of_pool == '1' then
    pool_until = count_failure(pool_breaker, 'failures', now, breaker_limits, 1, error_line)
  else
    suspended_until, pool_until =
      count_failure_in_pool(breaker, pool_breaker, pool, 'failures', now, breaker_limits, 1, error_line)
  end
end
return {removed, dropped, expired, outcome, retries, suspended_until or '', pool_until or ''}
