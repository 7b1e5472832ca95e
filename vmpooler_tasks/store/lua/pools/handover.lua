-- Shared: a pending VM is ready: to ready, or to running and delivered, if it was made for a request; if nobody waits for
-- that request any more, to completed. The arguments from `first` on are described in pools/make_ready.lua.
-- Answers ready, delivered, unwanted, or gone (it is not pending any more).
local function deliver(first)
  local vm, pool, stamp, waited, lifetime = ARGV[1], ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 4]
  local pending, ready, running, completed, metadata, active, request, delivered, boots, last_boot, work = unpack(KEYS, 1, 11)
  if redis.call('SISMEMBER', pending, vm) == 0 then return 'gone' end
  local outcome, to = 'ready', ready
  if ARGV[first + 3] == '1' then
    local found = redis.call('HMGET', request, 'status', 'token:token', 'token:user', 'requested')
    if not found[4] or found[1] == 'failed' or found[1] == 'deleted' then
      outcome, to = 'unwanted', completed
    else
      outcome, to = 'delivered', running
      redis.call('HSET', active, vm, stamp)
      redis.call('HSET', metadata, 'checkout', stamp)
      if found[2] then
        redis.call('HSET', metadata, 'token:token', found[2], 'token:user', found[3] or '')
        if lifetime ~= '' then redis.call('HSET', metadata, 'lifetime', lifetime) end
      end
      redis.call('SADD', delivered, vm)
    end
  end
  redis.call('SADD', to, vm)
  redis.call('SREM', pending, vm)
  redis.call('DEL', work)
  if outcome ~= 'unwanted' then
    redis.call('HSET', metadata, 'ready', stamp)
    if waited ~= '' then
      redis.call('HSET', boots, pool .. ':' .. vm, waited)
      redis.call('EXPIRE', boots, 604800)
    end
    redis.call('HSET', last_boot, pool, stamp)
  end
  return outcome
end
