-- uses: pools/lease
-- uses: pools/breaker
-- uses: pools/take_back
-- Claims the clone of a pending VM for one worker, and leases it. If the pool is paused, the clone is taken back: its slot is
-- free, and its request waits again. No dead letter is written, and a request counts no retry.
-- KEYS   1: pending   2: slots   3: counter of the slots   4: watch for other managers (hash)   5: work   6: fences
--        7: breaker   8: metadata   9: template overrides   10: clone target overrides   11: paused pools (hash)
--        12: completed   13: items of requests   14: breaker of the pool
-- ARGV   1: VM   2: pool   3: owner   4: now   5: end of the lease   6: maximum attempts   7: now, as VMPooler writes it
--        8: prefix of requests
-- RETURN {claim, fence, attempts, suspended until, request, alias, clone time, template override, clone target override}
--        claim: claimed, left_queue (no longer pending), already_cloned, busy (another worker holds the lease), paused (its pool
--        is; the VM left pending), pool_suspended (after failures that may pass; the VM left pending), suspended (its
--        provider is), exhausted (too many attempts)
local pending, slots, counter = KEYS[1], KEYS[2], {KEYS[3], KEYS[4]}
local work, fences, breaker, metadata, templates, clone_targets, paused, completed, items, pool_breaker =
  unpack(KEYS, 5)
local vm, pool, owner, now, lease_end, max_attempts, stamp, request_prefix = unpack(ARGV)
now = tonumber(now)

local request, alias, clone_stamp, clone_time =
  unpack(redis.call('HMGET', metadata, 'request_id', 'pool_alias', 'clone', 'clone_time'), 1, 4)
local function result(claim, fence, attempts, suspended_until)
  local template, clone_target = redis.call('HGET', templates, pool), redis.call('HGET', clone_targets, pool)
  return {claim, fence or 0, attempts or 0, suspended_until or '', request, alias, clone_stamp, template, clone_target}
end

if redis.call('SISMEMBER', pending, vm) == 0 then
  if not is_leased(slots, work, vm, owner, now) then free_slot(slots, counter, vm) end
  return result('left_queue')
end
if clone_time then return result('already_cloned') end
if is_leased(slots, work, vm, owner, now) or is_delivered_twice(slots, work, vm, owner, now) then return result('busy') end
if redis.call('HEXISTS', paused, pool) == 1 then
  take_back(vm, pool, pending, completed, slots, counter, metadata, work, items, request_prefix)
  return result('paused')
end
local counts_transient = redis.call('HEXISTS', pool_breaker, 'transient') == 1
local pool_until = counts_transient and suspended_or_start_trial(pool_breaker, now, lease_end)
if pool_until then  -- it must not hold a slot that another pool can use
  take_back(vm, pool, pending, completed, slots, counter, metadata, work, items, request_prefix)
  return result('pool_suspended', 0, 0, pool_until)
end
local attempts = add_to_count(work, 'attempts', 1)
local fence = take_work(slots, counter, work, fences, vm, owner, now, lease_end)
if attempts > tonumber(max_attempts) then return result('exhausted', fence, attempts) end
local suspended_until = suspended_or_start_trial(breaker, now, lease_end)
if suspended_until then
  if counts_transient then redis.call('HDEL', pool_breaker, 'trial_until') end
  redis.call('HDEL', work, 'owner', 'fence')
  redis.call('HINCRBY', work, 'attempts', -1)
  set_slot(slots, counter, vm, suspended_until)
  return result('suspended', 0, 0, suspended_until)
end
-- Its age counts from here: it may have waited longer for a worker or its provider than a clone may take.
redis.call('HSET', metadata, 'clone', stamp)
redis.call('HDEL', metadata, 'timeout_notification')
clone_stamp = stamp
return result('claimed', fence, attempts)
