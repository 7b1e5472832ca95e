-- Shared: numbers in Redis, where any program may have written anything. What is no number counts as missing.
local max_number, max_count = 2 ^ 53, 1e9

-- Returns the number that a text stands for. Returns nil for any other text, for nan and inf, and for a number that is too
-- large for a time or a count.
local function number_of(text)
  local number = text and tonumber(text)
  if not number or number ~= number or math.abs(number) > max_number then return nil end
  return number
end

-- Adds to a count in a hash, and returns it. A count that is no number, below zero or impossibly large starts anew.
local function add_to_count(key, field, by)
  local sum = redis.pcall('HINCRBY', key, field, by)
  if type(sum) == 'number' and sum >= by and sum <= max_count then return sum end
  redis.call('HSET', key, field, by)
  return by
end
