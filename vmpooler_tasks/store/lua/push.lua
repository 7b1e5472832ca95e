-- Shared: puts dead letters in, lets those go that are too old or too many, and counts each of these.
-- `letters` is {score, member, score, member, …}. Answers dropped, expired.
-- At most 1,000 leave of either kind in one call, so that the server is not held; the rest leave with the next.
-- uses: count
local function push_letters(key, counters, queue, now, ttl, most, letters)
  if #letters > 0 then
    local new = redis.call('ZADD', key, unpack(letters))
    redis.call('EXPIRE', key, math.ceil(ttl))
    count(counters, 'dead_letters:' .. queue, new)
  end
  local old = redis.call('ZCOUNT', key, '-inf', '(' .. (now - ttl))
  local expired = math.min(old, 1000)
  if expired > 0 then redis.call('ZREMRANGEBYRANK', key, 0, expired - 1) end
  -- What is too old leaves for its age: only what would still be kept can be dropped for want of room.
  local dropped = 0
  if expired == old then dropped = math.min(math.max(redis.call('ZCARD', key) - most, 0), 1000) end
  if dropped > 0 then redis.call('ZREMRANGEBYRANK', key, 0, dropped - 1) end
  count(counters, 'dead_letters_expired:' .. queue, expired)
  count(counters, 'dead_letters_dropped:' .. queue, dropped)
  return dropped, expired
end
