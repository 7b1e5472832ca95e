-- Shared: sets the final status of a request, and expires what belongs to it.

-- Sets an expiry in seconds, unless the key has one.
local function expire_once(key, seconds)
  if redis.call('TTL', key) == -1 then redis.call('EXPIRE', key, seconds) end
end

-- Sets the final status; `reason` says why a request failed. Without `seconds` the tick that fills requests sets the expiry.
local function set_final_status(request, status, reason, seconds)
  redis.call('HSET', request, 'status', status)
  if reason then redis.call('HSET', request, 'failure_reason', reason) end
  if seconds then expire_once(request, seconds) end
end
