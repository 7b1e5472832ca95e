-- Notes when each waiting order was first seen, and forgets those that wait no more.
-- KEYS   1: orders seen (zset)   2…: sets of orders
-- ARGV   1: now   2: maximum orders to note of each set   3…: kind of order, one for each set
-- RETURN for each set {count of the orders that wait, epoch at which the oldest was first seen ('' if none waits)}
local seen, now, max_orders = KEYS[1], ARGV[1], tonumber(ARGV[2])

local kinds = {}
for i = 2, #KEYS do kinds[ARGV[i + 1]] = i end
local noted = {}
for _, order in ipairs(redis.call('ZRANGE', seen, 0, -1)) do
  local kind, member = string.match(order, '^(%S+) (.*)$')
  local set = kinds[kind]
  if set and redis.pcall('SISMEMBER', KEYS[set], member) == 1 then
    noted[set] = (noted[set] or 0) + 1
  else
    redis.call('ZREM', seen, order)
  end
end
local result, oldest = {}, {}
for i = 2, #KEYS do
  local waiting = redis.pcall('SCARD', KEYS[i])
  if type(waiting) ~= 'number' then waiting = 0 end  -- a key of another type holds no orders
  if waiting > 0 and (noted[i] or 0) < max_orders then
    for _, member in ipairs(redis.call('SRANDMEMBER', KEYS[i], max_orders)) do
      redis.call('ZADD', seen, 'LT', now, ARGV[i + 1] .. ' ' .. member)
    end
  end
  result[i - 1] = {waiting, ''}
end
local orders = redis.call('ZRANGE', seen, 0, -1, 'WITHSCORES')
for i = 1, #orders, 2 do
  local set = kinds[string.match(orders[i], '^(%S+)')]
  if set and not oldest[set] then
    oldest[set] = true
    result[set - 1][2] = orders[i + 1]
  end
end
return result
