-- Shared: puts dead letters in, lets those go that are too old or too many, and counts each of these.
-- `letters` is {score, member, score, member, …}. Answers dropped, expired.
-- At most 1,000 leave of either kind in one call, so that the server is not held; the rest leave with the next.
-- uses: redis/counters
-- uses: deadletters/error_class
local MOST_CLASSES = 50

-- A queue has so many classes of errors, and then `other`: anybody's provider names them.
local function count_class(counters, queue, class, by)
  local name = 'dead_letters_of:' .. queue .. ':' .. class
  if redis.pcall('HEXISTS', counters, name) == 0 then
    local classes = 'dead_letter_classes:' .. queue
    local known = tonumber(redis.pcall('HGET', counters, classes) or 0)
    if known and known < MOST_CLASSES then
      count(counters, classes, 1)
    else
      name = 'dead_letters_of:' .. queue .. ':other'
    end
  end
  count(counters, name, by)
end

local function add_letters(key, counters, queue, letters)
  local classes = {}
  for i = 1, #letters, 2 do
    local class = error_class(letters[i + 1])
    local words = classes[class] or {}
    words[#words + 1], words[#words + 2] = letters[i], letters[i + 1]
    classes[class] = words
  end
  for class, words in pairs(classes) do
    local new = redis.call('ZADD', key, unpack(words))
    if new > 0 then
      count(counters, 'dead_letters:' .. queue, new)
      count_class(counters, queue, class, new)
    end
  end
end

local function push_letters(key, counters, queue, now, ttl, most, letters)
  if #letters > 0 then
    add_letters(key, counters, queue, letters)
    redis.call('EXPIRE', key, math.ceil(ttl))
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
