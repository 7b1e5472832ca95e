"""The scripts of the transport. kombu's own client runs them, on the Redis that carries the messages.

Each call sends the whole text: after a failover, another server has to know it in the same round trip.

Each key is kombu's, or one of ours beside it: `unacked_holders` (hash: delivery tag → holder) and `unacked_alive`
(sorted set: holder → epoch). A **holder** is a channel of a worker, which holds the messages that it has taken.
"""

# Moves the next message of these lists to `unacked`, and forgets the wake-ups if it takes none. The message is written
# to `unacked` before it is popped: if Redis refuses one of these steps, those before it are undone, and the message
# stays in its queue. Index or holder is needed to return the message later: either of them suffices. A list of the
# wrong type stops no other list. A message without a usable tag, or with the tag of another one, is noted under a new
# tag. A message that is too large is not parsed, and only its start is kept.
# KEYS: index, unacked, holders, alive, lists of messages, wake-ups. ARGV: count of the lists of messages, holder,
# maximum bytes of a message, of a tag, and bytes kept of a larger message.
# RETURN {number of the list, message or its start, problem, tag, bytes of the message}; {-1, '', problem, '', 0} if
# there is none; a problem is 'KEY: error', or ''.
TAKE = """#!lua flags=allow-oom
local index, unacked, holders, alive = unpack(KEYS, 1, 4)
local lists, holder = tonumber(ARGV[1]), ARGV[2]
local max_bytes, max_tag, kept_bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local problem = ''
local function is_done(key, command, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) ~= 'table' or not reply.err then return true end
  problem = key .. ': ' .. reply.err
  return false
end
local function note(tag, entry)
  local now, before = redis.call('TIME'), problem
  if not is_done(unacked, 'HSET', tag, entry) then return false end
  local is_indexed = is_done(index, 'ZADD', string.format('%d.%06d', now[1], now[2]), tag)
  local is_held = is_done(holders, 'HSET', tag, holder)
  redis.pcall('ZADD', alive, 'NX', now[1], holder)
  if is_indexed or is_held then problem = before end
  return is_indexed or is_held
end
local function forget(tag)
  redis.pcall('HDEL', unacked, tag)
  redis.pcall('ZREM', index, tag)
  redis.pcall('HDEL', holders, tag)
end
local function own_tag()
  local now = redis.call('TIME')
  return holder .. '.' .. now[1] .. '.' .. now[2]
end
local function parse(raw)
  local ok, tag, exchange, routing_key = pcall(function()
    local properties = cjson.decode(raw).properties
    local delivery = properties.delivery_info
    return properties.delivery_tag, delivery.exchange, delivery.routing_key
  end)
  if ok and type(tag) == 'string' and type(exchange) == 'string' and type(routing_key) == 'string' then
    return '[' .. raw .. ',' .. cjson.encode(exchange) .. ',' .. cjson.encode(routing_key) .. ']', tag
  end
end
for i = 5, lists + 4 do
  local raw = redis.pcall('LINDEX', KEYS[i], -1)
  if type(raw) == 'table' then
    problem = KEYS[i] .. ': ' .. raw.err
  elseif raw then
    local bytes, entry, tag = #raw, nil, nil
    if bytes <= max_bytes then
      entry, tag = parse(raw)
    else
      raw = string.sub(raw, 1, kept_bytes)
    end
    if not tag or #tag > max_tag or string.find(tag, '[^%w_.:-]') or redis.pcall('HEXISTS', unacked, tag) ~= 0 then
      tag = own_tag()
    end
    if note(tag, entry or raw) and is_done(KEYS[i], 'RPOP') then return {i - 5, raw, problem, tag, bytes} end
    forget(tag)
    break
  end
end
for i = lists + 5, #KEYS do redis.pcall('DEL', KEYS[i]) end
return {-1, '', problem, '', 0}
"""

# Adds a message to its queue, and a wake-up to the list beside it. A worker finds the message without it as well.
# KEYS: list of messages, wake-ups. ARGV: message.
PUT = """#!lua
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.pcall('LPUSH', KEYS[2], '1')
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
redis.pcall('ZREM', KEYS[1], ARGV[1])
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
  local length = redis.pcall('LLEN', KEYS[i])
  if type(length) == 'table' then return redis.error_reply(length.err .. ' (' .. KEYS[i] .. ')') end
end
for i = 4, #KEYS, 2 do
  redis.call(is_last == '1' and 'LPUSH' or 'RPUSH', KEYS[i], message)
  redis.pcall('LPUSH', KEYS[i + 1], '1')
end
redis.pcall('ZREM', KEYS[1], tag)
redis.call('HDEL', KEYS[2], tag)
redis.pcall('HDEL', KEYS[3], tag)
return 1
"""

# Records that these holders are alive, and finds the messages that may have to be returned. The holders that have been
# silent for a day are forgotten. A key of the wrong type hides only what it holds.
# KEYS: index, unacked, holders, alive. ARGV: seconds of silence, visibility timeout, maximum of each list, holders.
# RETURN {{tag, holder, …} of silent holders, {tag, holder, …} of these holders, {tag, …} beyond the timeout,
# 1 if a message has no holder, problem}; a problem is 'KEY: error', or ''.
SWEEP = """#!lua flags=allow-oom
local index, unacked, holders, alive = unpack(KEYS)
local silence, visibility, maximum = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local problem = ''
local function run(key, command, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  problem = key .. ': ' .. reply.err
end
local own = {}
for i = 4, #ARGV do
  run(alive, 'ZADD', now, ARGV[i])
  own[ARGV[i]] = true
end
run(alive, 'ZREMRANGEBYSCORE', '-inf', now - 86400)
local seen = {}
local function is_silent(holder)
  if seen[holder] == nil then
    local last = run(alive, 'ZSCORE', holder)
    seen[holder] = last == false or last ~= nil and tonumber(last) < now - silence
  end
  return seen[holder]
end
local silent_tags, own_tags, rows = {}, {}, run(holders, 'HGETALL') or {}
for i = 1, #rows, 2 do
  local tag, holder = rows[i], rows[i + 1]
  local found = own[holder] and own_tags or is_silent(holder) and silent_tags or nil
  if found and run(unacked, 'HEXISTS', tag) == 0 then
    redis.call('HDEL', holders, tag)
  elseif found and #found < 2 * maximum then
    found[#found + 1] = tag
    found[#found + 1] = holder
  end
end
local overdue = run(index, 'ZRANGE', '-inf', now - visibility, 'BYSCORE', 'LIMIT', 0, maximum) or {}
local is_unheld = (run(unacked, 'HLEN') or 0) > #rows / 2
return {silent_tags, own_tags, overdue, is_unheld and 1 or 0, problem}
"""

# Records again who holds these messages, where nobody is recorded, and that those which wait are not overdue: a task
# with a countdown may wait for longer than the visibility timeout.
# KEYS: index, unacked, holders. ARGV: holder, count of the messages that wait, their tags, tags of those that run.
REAFFIRM = """#!lua flags=allow-oom
local index, unacked, holders = unpack(KEYS)
local holder, waiting = ARGV[1], tonumber(ARGV[2])
local now = redis.call('TIME')[1]
for i = 3, #ARGV do
  local tag = ARGV[i]
  if redis.call('HEXISTS', unacked, tag) == 1 then
    redis.pcall('HSETNX', holders, tag, holder)
    if i - 2 <= waiting and redis.pcall('HGET', holders, tag) == holder then
      redis.pcall('ZADD', index, 'XX', now, tag)
    end
  end
end
"""

# Finds out whether a holder still has a message. Where its key cannot be read, the message counts as held.
# KEYS: unacked, holders. ARGV: tag, holder. RETURN 1; 0 if another has it, if it is back in its queue, or done.
IS_HELD = """#!lua flags=no-writes,allow-oom
local unacked, holders = unpack(KEYS)
local held_by = redis.pcall('HGET', holders, ARGV[1])
if type(held_by) == 'string' then return held_by == ARGV[2] and 1 or 0 end
return redis.pcall('HEXISTS', unacked, ARGV[1]) == 0 and 0 or 1
"""
