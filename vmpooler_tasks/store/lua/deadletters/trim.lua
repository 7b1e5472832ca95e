-- Shared: remove the dead letters of one queue that are too old, too many, or too large together.
-- uses: redis/counters
-- uses: deadletters/bytes
-- One call reads no more than this of what it removes, so that the server is not held.
local max_removed_bytes, trim_page = 8 * 1024 * 1024, 50

-- Remove the oldest dead letters while `is_wanted(count, bytes)` of those removed so far. Return count, bytes.
local function remove_oldest(queue_key, max_count, is_wanted)
  local removed, bytes, is_done = 0, 0, false
  while not is_done and removed < max_count and bytes < max_removed_bytes do
    local page = redis.call('ZRANGE', queue_key, 0, math.min(trim_page, max_count - removed) - 1)
    local taken = 0
    while taken < #page and is_wanted(removed + taken, bytes) do
      taken = taken + 1
      bytes = bytes + #page[taken]
    end
    if taken > 0 then redis.call('ZREMRANGEBYRANK', queue_key, 0, taken - 1) end
    removed, is_done = removed + taken, taken < #page or #page == 0
  end
  return removed, bytes
end

-- Return how many of the newest dead letters have together no more bytes than the maximum, their bytes, and how many were
-- removed. With `drops_oversized`, one that alone is larger than the maximum is removed: it pushes no other out.
local function count_newest(queue_key, size, max_bytes, drops_oversized)
  local kept, bytes, removed = 0, 0, 0
  while kept + removed < size do
    local page = redis.call('ZREVRANGE', queue_key, kept, kept + trim_page - 1)
    for i = 1, #page do
      if drops_oversized and #page[i] > max_bytes then
        removed = removed + redis.call('ZREM', queue_key, page[i])
      elseif bytes + #page[i] > max_bytes then
        return kept, bytes, removed
      else
        kept, bytes = kept + 1, bytes + #page[i]
      end
    end
  end
  return kept, bytes, removed
end

-- Return the bytes of the queue after these were removed from `size` entries; nil if they are not known.
local function bytes_left(size, kept, bytes, dropped, dropped_bytes)
  if not kept or kept == size then return bytes - dropped_bytes end
  return size - dropped == kept and bytes or nil
end

-- `bytes` are those of the queue, nil if they are not known. Return dropped (below zero if the maximum of bytes was the
-- reason), expired.
local function trim_dead_letters(queue_key, counters, queue, now, limits, bytes)
  local old = redis.call('ZCOUNT', queue_key, '-inf', '(' .. (now - limits.ttl))
  local expired, expired_bytes = remove_oldest(queue_key, limits.page, function(count) return count < old end)
  local size, kept, oversized = redis.call('ZCARD', queue_key), nil, 0
  if bytes then
    bytes = bytes - expired_bytes
  else
    kept, bytes, oversized = count_newest(queue_key, size, limits.max_bytes, expired == old)
    size = size - oversized
  end
  local dropped, dropped_bytes, is_for_bytes = 0, 0, oversized > 0
  local function is_too_much(count, removed_bytes)
    if size - count > limits.max_entries then return true end
    local is_too_large = bytes - removed_bytes > limits.max_bytes
    if kept then is_too_large = kept < size and size - count > kept end
    is_for_bytes = is_for_bytes or is_too_large
    return is_too_large
  end
  -- An old entry leaves because of its age. Only an entry that would still be kept can be dropped as one too many.
  if expired == old then dropped, dropped_bytes = remove_oldest(queue_key, limits.page, is_too_much) end
  count_bytes(counters, queue_key, queue, bytes_left(size, kept, bytes, dropped, dropped_bytes))
  dropped = dropped + oversized
  count(counters, 'dead_letters_expired:' .. queue, expired)
  count(counters, 'dead_letters_dropped:' .. queue, dropped)
  return is_for_bytes and -dropped or dropped, expired
end
