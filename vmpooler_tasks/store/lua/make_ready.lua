-- A pending VM is ready: to ready, or to running and delivered, if it was made for a request. If nobody waits for that
-- request any more, to completed.
-- KEYS   1: pending   2: ready   3: running   4: completed   5: metadata   6: active   7: the request   8: delivered
--        9: boots of the day   10: last boot   11: work
-- ARGV   1: VM   2: pool   3: now, as VMPooler writes it   4: seconds since its clone began ('' for not known)
--        5: 1 if it was made for a request   6: lifetime with a token ('' for none)
-- RETURN ready, delivered, unwanted, or gone (it is not pending any more)
local vm = ARGV[1]
if redis.call('SISMEMBER', KEYS[1], vm) == 0 then return 'gone' end
local outcome, to = 'ready', KEYS[2]
if ARGV[5] == '1' then
  local found = redis.call('HMGET', KEYS[7], 'status', 'token:token', 'token:user', 'requested')
  if not found[4] or found[1] == 'failed' or found[1] == 'deleted' then
    outcome, to = 'unwanted', KEYS[4]
  else
    outcome, to = 'delivered', KEYS[3]
    redis.call('HSET', KEYS[6], vm, ARGV[3])
    redis.call('HSET', KEYS[5], 'checkout', ARGV[3])
    if found[2] then
      redis.call('HSET', KEYS[5], 'token:token', found[2], 'token:user', found[3] or '')
      if ARGV[6] ~= '' then redis.call('HSET', KEYS[5], 'lifetime', ARGV[6]) end
    end
    redis.call('SADD', KEYS[8], vm)
  end
end
redis.call('SADD', to, vm)
redis.call('SREM', KEYS[1], vm)
redis.call('DEL', KEYS[11])
if outcome ~= 'unwanted' then
  redis.call('HSET', KEYS[5], 'ready', ARGV[3])
  if ARGV[4] ~= '' then
    redis.call('HSET', KEYS[9], ARGV[2] .. ':' .. vm, ARGV[4])
    redis.call('EXPIRE', KEYS[9], 604800)
  end
  redis.call('HSET', KEYS[10], ARGV[2], ARGV[3])
end
return outcome
