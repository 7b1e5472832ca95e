-- uses: pools/lease
-- uses: pools/breaker
-- uses: pools/pool_breaker
-- uses: pools/progress
-- uses: pools/handover
-- Finishes a clone: writes its metadata, frees its slot, ends suspensions, and hands the VM over if it is ready.
-- KEYS   1: pending   2: ready   3: running   4: completed   5: metadata   6: active   7: the request   8: delivered
--        9: boots of the day   10: last boot   11: work   12: last boot by these workers   13: slots
--        14: counter of the slots   15: watch for other managers (hash)   16: breaker   17: breaker of the pool
--        18: clones of the day   19: progress
-- ARGV   1: VM   2: pool   3: now, as VMPooler writes it   4: seconds since its clone started ('' for unknown)
--        5: 1 if it was made for a request   6: lifetime with a token ('' for none)   7: text of the
--        request's item before the count   8: fence   9: seconds it took   10: 1 if it is ready   11…: field, value, …
-- RETURN as make_ready; or pending (not ready yet), lost (another worker took the lease over)
local pending, metadata, work, slots, counter = KEYS[1], KEYS[5], KEYS[11], KEYS[13], {KEYS[14], KEYS[15]}
local breaker, pool_breaker, clone_times, progress = KEYS[16], KEYS[17], KEYS[18], KEYS[19]
local vm, pool, fence, seconds, is_ready = ARGV[1], ARGV[2], ARGV[8], ARGV[9], ARGV[10]

if has_lost(work, fence) then return 'lost' end
free_slot(slots, counter, vm)
note_end(progress, 'clones')
redis.call('HDEL', work, 'owner', 'fence', 'attempts')
close_breaker(breaker)
forget_failing(breaker, 'failures')
close_breaker(pool_breaker)
if redis.call('SISMEMBER', pending, vm) == 0 then return 'left_queue' end
redis.call('HSET', metadata, unpack(ARGV, 11))
redis.call('HSET', clone_times, pool .. ':' .. vm, seconds)
if is_ready == '1' then return hand_over() end
-- The watch must not take it for another manager's. Destruction, or the end of its wait, deletes this.
redis.call('HSET', work, 'cloned', 1)
redis.call('EXPIRE', work, 604800)
return 'pending'
