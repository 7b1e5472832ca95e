"""The scripts of the transport. kombu's own client runs them, on the Redis that carries the messages.

Each key is kombu's, or one of ours beside it: `unacked_holders` (hash: delivery tag → holder) and `unacked_alive`
(sorted set: holder → epoch). A **holder** is a channel of a worker, which holds the messages that it has taken.
"""

# Moves the next message of these lists to `unacked`, and forgets the wake-ups if there is none. The message is written
# to `unacked` before it is popped: if Redis refuses that, it stays in its queue. A message without a tag is popped
# alone: its reader keeps it as a dead letter. Who holds it is only needed to return it sooner: a key of the wrong type
# there stops no message.
# KEYS: index, unacked, holders, alive, lists of messages, wake-ups. ARGV: count of the lists of messages, holder.
# RETURN {number of the list, message}; false if there is none.
TAKE = """#!lua flags=allow-oom
local index, unacked, holders, alive = unpack(KEYS, 1, 4)
local lists, holder = tonumber(ARGV[1]), ARGV[2]
for i = 5, lists + 4 do
  local raw = redis.call('LINDEX', KEYS[i], -1)
  if raw then
    local ok, tag, exchange, routing_key = pcall(function()
      local properties = cjson.decode(raw).properties
      local delivery = properties.delivery_info
      return properties.delivery_tag, delivery.exchange, delivery.routing_key
    end)
    if ok and type(tag) == 'string' and type(exchange) == 'string' and type(routing_key) == 'string' then
      local now = redis.call('TIME')
      local entry = '[' .. raw .. ',' .. cjson.encode(exchange) .. ',' .. cjson.encode(routing_key) .. ']'
      redis.call('HSET', unacked, tag, entry)
      redis.call('ZADD', index, string.format('%d.%06d', now[1], now[2]), tag)
      redis.pcall('HSET', holders, tag, holder)
      redis.pcall('ZADD', alive, 'NX', now[1], holder)
    end
    redis.call('RPOP', KEYS[i])
    return {i - 5, raw}
  end
end
for i = lists + 5, #KEYS do redis.call('DEL', KEYS[i]) end
return false
"""

# Notes a message that was fetched in another way, also when Redis is out of memory: it has left its queue already.
# KEYS: index, unacked, holders. ARGV: tag, entry, holder.
NOTE = """#!lua flags=allow-oom
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], string.format('%d.%06d', now[1], now[2]), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.pcall('HSET', KEYS[3], ARGV[1], ARGV[3])
"""

# Removes a message that its holder has finished, also when Redis is out of memory. The fence: if another holder has it
# now, nothing happens, since that one's work is not done.
# KEYS: index, unacked, holders. ARGV: tag, holder. RETURN 1; 0 if another holds it.
REMOVE = """#!lua flags=allow-oom
local held_by = redis.pcall('HGET', KEYS[3], ARGV[1])
if type(held_by) == 'string' and held_by ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.pcall('HDEL', KEYS[3], ARGV[1])
return 1
"""

# Returns a message to its queue, once, if it is still held by that holder, or by anybody for ''.
# KEYS: index, unacked, holders, then a list and its wake-ups for each queue.
# ARGV: tag, holder, the entry in unacked, the message, 1 to let it be taken last.
# RETURN 1; 0 if it was acknowledged, returned or taken over meanwhile.
RETURN = """#!lua flags=allow-oom
local tag, holder, entry, message, is_last = unpack(ARGV)
local held_by = redis.pcall('HGET', KEYS[3], tag)
if holder ~= '' and type(held_by) == 'string' and held_by ~= holder then return 0 end
if redis.call('HGET', KEYS[2], tag) ~= entry then return 0 end
for i = 4, #KEYS, 2 do
  redis.call(is_last == '1' and 'LPUSH' or 'RPUSH', KEYS[i], message)
  redis.call('LPUSH', KEYS[i + 1], '1')
end
redis.call('ZREM', KEYS[1], tag)
redis.call('HDEL', KEYS[2], tag)
redis.pcall('HDEL', KEYS[3], tag)
return 1
"""

# Records that these holders are alive, and finds the messages that may have to be returned. The holders that have been
# silent for a day are forgotten.
# KEYS: index, unacked, holders, alive. ARGV: seconds of silence, visibility timeout, maximum of each list, holders.
# RETURN {{tag, holder, …} of silent holders, {tag, holder, …} of these holders, {tag, …} beyond the timeout}.
SWEEP = """#!lua flags=allow-oom
local index, unacked, holders, alive = unpack(KEYS)
local silence, visibility, maximum = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local own = {}
for i = 4, #ARGV do
  redis.call('ZADD', alive, now, ARGV[i])
  own[ARGV[i]] = true
end
redis.call('ZREMRANGEBYSCORE', alive, '-inf', now - 86400)
local seen = {}
local function is_silent(holder)
  if seen[holder] == nil then
    local last = redis.call('ZSCORE', alive, holder)
    seen[holder] = not last or tonumber(last) < now - silence
  end
  return seen[holder]
end
local silent_tags, own_tags, rows = {}, {}, redis.call('HGETALL', holders)
for i = 1, #rows, 2 do
  local tag, holder = rows[i], rows[i + 1]
  local found = own[holder] and own_tags or is_silent(holder) and silent_tags or nil
  if found and redis.call('HEXISTS', unacked, tag) == 0 then
    redis.call('HDEL', holders, tag)
  elseif found and #found < 2 * maximum then
    found[#found + 1] = tag
    found[#found + 1] = holder
  end
end
local overdue = redis.call('ZRANGE', index, '-inf', now - visibility, 'BYSCORE', 'LIMIT', 0, maximum)
return {silent_tags, own_tags, overdue}
"""
