#!lua flags=no-writes
-- uses: deadletters/failure_index
-- Counts the recent dead letters of each pool. Reads the newest of each queue up to a limit, in either form; a queue that
-- has more than that counts by the index of failures, too, which knows those that this project wrote.
-- KEYS   1: counters   2…: dead letters, a queue each
-- ARGV   1: epoch of the oldest that counts   2: now   3: maximum of dead letters that are read of each queue
-- RETURN {pool, count, newest error message, …}; names and messages are escaped as in JSON
local counters, oldest, now, limit = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local since = tonumber(oldest)
local counts, messages, newest, is_complete = {}, {}, {}, true

for k = 2, #KEYS do
  local found = redis.pcall('ZREVRANGEBYSCORE', KEYS[k], '+inf', oldest, 'WITHSCORES', 'LIMIT', 0, limit)
  if found.err then found = {} end  -- a key of another type holds no dead letters
  if #found == 2 * limit then is_complete = false end
  for i = 1, #found, 2 do
    local pool, score = pool_of(found[i]), tonumber(found[i + 1])
    if pool then
      counts[pool] = (counts[pool] or 0) + 1
      if not newest[pool] or score > newest[pool] then
        newest[pool], messages[pool] = score, text_field(found[i], 'error_message') or ''
      end
    end
  end
end

if not is_complete then
  local indexed = {}
  for step = math.floor(now / failure_step_seconds), math.ceil(since / failure_step_seconds), -1 do
    local fields = redis.pcall('HGETALL', failure_step(counters, step * failure_step_seconds))
    for i = 1, fields.err and 0 or #fields, 2 do
      local kind, pool = string.match(fields[i], '^(%a+):(.*)$')
      if kind == 'count' then
        indexed[pool] = (indexed[pool] or 0) + (tonumber(fields[i + 1]) or 0)
      elseif kind == 'message' and not messages[pool] then
        messages[pool] = fields[i + 1]
      end
    end
  end
  for pool, count in pairs(indexed) do counts[pool] = math.max(counts[pool] or 0, count) end
end

local result = {}
for pool, count in pairs(counts) do
  result[#result + 1], result[#result + 2], result[#result + 3] = pool, count, messages[pool] or ''
end
return result
