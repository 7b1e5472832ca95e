-- Shared: puts one dead letter in, unless the same failure was reported before.
-- Answers 1 if it is new or 0, dropped, expired.
-- uses: deadletters/push_many
local function push_letter(letters, ids, counters, queue, now, ttl, most, id, member)
  redis.call('ZREMRANGEBYSCORE', ids, '-inf', '(' .. (now - ttl))
  if redis.call('ZSCORE', ids, queue .. ':' .. id) then return 0, 0, 0 end
  -- First: a failure is remembered as reported only once its letter is there.
  local dropped, expired = push_letters(letters, counters, queue, now, ttl, most, {math.floor(now), member})
  redis.call('ZADD', ids, math.floor(now), queue .. ':' .. id)
  redis.call('EXPIRE', ids, math.ceil(ttl))
  redis.call('ZREMRANGEBYRANK', ids, 0, -1 - 10 * most)  -- all queues share it; a storm must not fill Redis
  return 1, dropped, expired
end
