-- Read dead letters of a run of redrives from a position on: as many as the limits allow, and at least one.
-- KEYS   1: the dead letters of the run (list)
-- ARGV   1: position   2: maximum count   3: maximum of their bytes
-- RETURN members
local dead_letters = KEYS[1]
local position, max_count, max_bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local step = 16  -- so few are read at once, since each may be large
local found, bytes = {}, 0
while #found < max_count do
  local start = position + #found
  local page = redis.call('LRANGE', dead_letters, start, start + math.min(step, max_count - #found) - 1)
  if #page == 0 then return found end
  for _, member in ipairs(page) do
    bytes = bytes + #member
    if bytes > max_bytes and #found > 0 then return found end
    found[#found + 1] = member
  end
end
return found
