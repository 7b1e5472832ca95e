-- Shared: add dead letters, remove those that are too old or too many, and count each of them.
-- uses: redis/counters
-- uses: deadletters/error_class
-- uses: deadletters/failure_index
-- uses: deadletters/trim
local MAX_CLASSES = 50

-- Return the limits at ARGV[first] and the three arguments behind it: seconds to keep, maximum count, maximum bytes, page
-- (how many of each kind one call removes, so that the server is not held). Return nil for a page of 0: dead letters are
-- switched off.
local function limits_from(first)
  local ttl, max_entries, max_bytes, page = unpack(ARGV, first, first + 3)
  if tonumber(page) == 0 then return nil end
  return {ttl = tonumber(ttl), max_entries = tonumber(max_entries), max_bytes = tonumber(max_bytes), page = tonumber(page)}
end

-- A queue counts at most MAX_CLASSES classes of errors, and the others together: every provider names its own.
local function count_class(counters, queue, class, by)
  local name = 'dead_letters_of:' .. queue .. ':' .. class
  if redis.pcall('HEXISTS', counters, name) == 0 then
    local classes = 'dead_letter_classes:' .. queue
    local known = tonumber(redis.pcall('HGET', counters, classes) or 0)
    if known and known < MAX_CLASSES then
      count(counters, classes, 1)
    else
      name = 'dead_letters_of:' .. queue .. ':other'
    end
  end
  count(counters, name, by)
end

local function add_and_count(queue_key, counters, queue, entries)
  local by_class, added = {}, 0
  for i = 1, #entries, 2 do
    local class = error_class(entries[i + 1])
    local words = by_class[class] or {}
    words[#words + 1], words[#words + 2] = entries[i], entries[i + 1]
    by_class[class] = words
  end
  for class, words in pairs(by_class) do
    local new = redis.call('ZADD', queue_key, unpack(words))
    added = added + new
    if new > 0 then
      count(counters, 'dead_letters:' .. queue, new)
      count_class(counters, queue, class, new)
    end
  end
  if added > 0 then index_failures(counters, entries) end
  return added
end

-- `entries` is {score, member, score, member, …}. Return dropped, expired: at most one page of each.
local function push_dead_letters(queue_key, counters, queue, now, limits, entries)
  local bytes = counted_bytes(counters, queue_key, queue)
  if #entries > 0 then
    local added = add_and_count(queue_key, counters, queue, entries)
    for i = 2, #entries, 2 do bytes = bytes and bytes + #entries[i] end
    if added < #entries / 2 then bytes = nil end  -- some were there already
    redis.call('EXPIRE', queue_key, math.ceil(limits.ttl))
  end
  return trim_dead_letters(queue_key, counters, queue, now, limits, bytes)
end
