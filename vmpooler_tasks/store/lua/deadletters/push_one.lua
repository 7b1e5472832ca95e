-- Shared: add one dead letter unless its failure was reported before. Return 1 if it is new or 0, dropped, expired.
-- uses: deadletters/push_many
local function push_dead_letter(queue_key, ids, counters, queue, now, limits, id, member)
  local seen = queue .. ':' .. id
  redis.call('ZREMRANGEBYSCORE', ids, '-inf', '(' .. (now - limits.ttl))
  if redis.call('ZSCORE', ids, seen) then return 0, 0, 0 end
  -- The dead letter comes first: its failure counts as reported only once the dead letter is stored.
  local dropped, expired = push_dead_letters(queue_key, counters, queue, now, limits, {math.floor(now), member})
  redis.call('ZADD', ids, math.floor(now), seen)
  redis.call('EXPIRE', ids, math.ceil(limits.ttl))
  redis.call('ZREMRANGEBYRANK', ids, 0, -1 - 10 * limits.max_entries)  -- all queues share it; it must not fill Redis
  return 1, dropped, expired
end
