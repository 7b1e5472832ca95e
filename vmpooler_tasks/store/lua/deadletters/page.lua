-- Read dead letters between two scores from a position on: as many as the limits allow, and at least one.
-- KEYS   1: dead letters
-- ARGV   1: first score   2: last score   3: '1' if the newest come first   4: position after the first score's start
--        5: maximum count   6: maximum of their bytes
-- RETURN {1 if none follow, otherwise 0, {member, score, …}, …}
local queue_key = KEYS[1]
local first, last, newest_first = ARGV[1], ARGV[2], ARGV[3] == '1'
local position, max_count, max_bytes = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local max_step = 16  -- so few are read at once, since each may be large
local before, between
if newest_first then
  before = redis.call('ZCOUNT', queue_key, '(' .. first, '+inf')
  between = redis.call('ZCOUNT', queue_key, last, first)
else
  before = redis.call('ZCOUNT', queue_key, '-inf', '(' .. first)
  between = redis.call('ZCOUNT', queue_key, first, last)
end
local left = between - position
local stop = math.min(left, max_count)

local function read(from, to)
  if newest_first then return redis.call('ZRANGE', queue_key, from, to, 'REV', 'WITHSCORES') end
  return redis.call('ZRANGE', queue_key, from, to, 'WITHSCORES')
end

-- Ranks hold within this call, and the server finds a rank without passing all that come before.
local result, count, bytes, step = {0}, 0, 0, 1
while count < stop and bytes < max_bytes do
  local from = before + position + count
  local part = read(from, from + math.min(step, stop - count) - 1)
  local size = #part
  for i = 1, size, 2 do
    bytes = bytes + #part[i]
    if bytes > max_bytes and count > 0 then
      for beyond = size, i, -1 do part[beyond] = nil end
      break
    end
    count = count + 1
  end
  result[#result + 1] = part
  step = math.min(4 * step, max_step)
end
if count >= left then result[1] = 1 end
return result
