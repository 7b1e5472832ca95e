-- Shared: raises a counter in the same step as what it counts. A counter of the wrong type does not stop that step.
local function count(counters, name, by)
  if by > 0 then redis.pcall('HINCRBY', counters, name, by) end
end
