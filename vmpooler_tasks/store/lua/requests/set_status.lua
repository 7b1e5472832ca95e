-- Shared: answers a request (a reason says why it failed), and lets keys of an answered one go after so many seconds,
-- unless somebody has said already when each is to go.
local function let_go(key, seconds)
  if redis.call('TTL', key) == -1 then redis.call('EXPIRE', key, seconds) end
end

-- Without seconds, whoever tidies up after it lets it go.
local function answer_request(request, status, reason, seconds)
  redis.call('HSET', request, 'status', status)
  if reason then redis.call('HSET', request, 'failure_reason', reason) end
  if seconds then let_go(request, seconds) end
end
