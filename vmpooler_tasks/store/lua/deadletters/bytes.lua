-- Shared: how many bytes the dead letters of a queue have together. The counters hold it, with the count of dead letters that
-- it was counted of. VMPooler and others change the queue as well: then that count differs, and the bytes are not known.
-- uses: redis/numbers

local function bytes_fields(queue) return 'dead_letter_bytes:' .. queue, 'dead_letter_entries:' .. queue end

-- Return the bytes; nil if they are not known.
local function counted_bytes(counters, queue_key, queue)
  local size = redis.call('ZCARD', queue_key)
  if size == 0 then return 0 end
  local found = redis.pcall('HMGET', counters, bytes_fields(queue))
  local bytes = number_of(found[1])
  return number_of(found[2]) == size and bytes and bytes >= 0 and bytes or nil
end

-- Record the bytes; nil if they are not known. Counters of another type do not stop a dead letter.
local function count_bytes(counters, queue_key, queue, bytes)
  local bytes_field, entries_field = bytes_fields(queue)
  if bytes then
    redis.pcall('HSET', counters, bytes_field, bytes, entries_field, redis.call('ZCARD', queue_key))
  else
    redis.pcall('HDEL', counters, entries_field)
  end
end

local function remove_and_count_bytes(counters, queue_key, queue, member)
  local bytes = counted_bytes(counters, queue_key, queue)
  local removed = redis.call('ZREM', queue_key, member)
  count_bytes(counters, queue_key, queue, bytes and bytes - removed * #member)
end
