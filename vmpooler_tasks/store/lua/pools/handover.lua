-- Shared: hands a pending VM that is ready over: to ready; or to running and delivered, if it was made for a request; or to
-- completed, if that request is closed or gone or has all its VMs. It reads KEYS 1 to 12 and ARGV 1 to 7, which
-- pools/make_ready.lua lists. Returns ready, delivered, request_closed, or left_queue (no longer pending).
-- uses: requests/status
-- uses: requests/count_wanted
-- uses: requests/count_missing
local function hand_over()
  local pending, ready, running, completed, metadata, active, request, delivered, boot_times, last_boot, work,
    own_boots = unpack(KEYS, 1, 12)
  local vm, pool, stamp, waited, for_request, token_lifetime, before = unpack(ARGV, 1, 7)

  if redis.call('SISMEMBER', pending, vm) == 0 then return 'left_queue' end
  local outcome, target = 'ready', ready
  if for_request == '1' then
    local token, user, requested = unpack(redis.call('HMGET', request, 'token:token', 'token:user', 'requested'), 1, 3)
    if final_status(request) or count_delivered(delivered, running) >= count_wanted(requested, before) then
      outcome, target = 'request_closed', completed
    else
      outcome, target = 'delivered', running
      redis.call('HSET', active, vm, stamp)
      redis.call('HSET', metadata, 'checkout', stamp)
      if token then
        redis.call('HSET', metadata, 'token:token', token, 'token:user', user or '')
        if token_lifetime ~= '' then redis.call('HSET', metadata, 'lifetime', token_lifetime) end
      end
      redis.call('SADD', delivered, vm)
    end
  end
  redis.call('SADD', target, vm)
  redis.call('SREM', pending, vm)
  redis.call('DEL', work)
  if outcome ~= 'request_closed' then
    redis.call('HSET', metadata, 'ready', stamp)
    if waited ~= '' then redis.call('HSET', boot_times, pool .. ':' .. vm, waited) end
    redis.call('HSET', last_boot, pool, stamp)
    redis.call('HSET', own_boots, pool, stamp)
  end
  return outcome
end
