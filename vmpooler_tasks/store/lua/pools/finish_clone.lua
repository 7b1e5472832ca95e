-- uses: pools/lease
-- uses: pools/handover
-- A clone is made: keeps what is known of it, frees its slot, closes the breakers, and, if it is ready, hands it
-- on to whom it was made for.
-- KEYS   1: pending   2: ready   3: running   4: completed   5: metadata   6: active   7: the request   8: delivered
--        9: boots of the day   10: last boot   11: work   12: slots   13: counter of the slots   14: breaker
--        15: clones of the day   16: breaker of the pool
-- ARGV   1: VM   2: pool   3: now, as VMPooler writes it   4: seconds since its clone began ('' for not known)
--        5: 1 if it was made for a request   6: lifetime with a token ('' for none)   7: fence   8: seconds it took
--        9: 1 if it is ready   10…: field, value, …
-- RETURN as make_ready; pending (it is not ready yet), lost (another has taken it over), left (it was not pending any more)
if has_lost(KEYS[11], ARGV[7]) then return 'lost' end
free_slot(KEYS[12], KEYS[13], ARGV[1])
redis.call('HDEL', KEYS[11], 'owner', 'fence', 'attempts')
redis.call('DEL', KEYS[14], KEYS[16])
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then return 'left' end
redis.call('HSET', KEYS[5], unpack(ARGV, 10))
redis.call('HSET', KEYS[15], ARGV[2] .. ':' .. ARGV[1], ARGV[8])
redis.call('EXPIRE', KEYS[15], 604800)
if ARGV[9] == '1' then return deliver(2) end
return 'pending'
