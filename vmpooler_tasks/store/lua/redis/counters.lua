-- Shared: raises a counter in the step that does what it counts. A counter that somebody broke is no reason not to do it.
local function count(counters, name, by)
  if by > 0 then redis.pcall('HINCRBY', counters, name, by) end
end
