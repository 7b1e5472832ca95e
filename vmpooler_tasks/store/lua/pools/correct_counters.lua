-- Corrects VMPooler's counters of clones where they differ from the slots in use. Only another pool manager writes other
-- values; each difference counts as a sighting of one.
-- KEYS   1: sightings of another manager   2…: counter, slots
-- ARGV   1: seconds to remember a sighting
-- RETURN the sightings that are remembered
local sightings, remembered_seconds = KEYS[1], ARGV[1]

for k = 2, #KEYS, 2 do
  local counter, slots = KEYS[k], KEYS[k + 1]
  local written, used = redis.call('GET', counter), redis.call('ZCARD', slots)
  if written and tonumber(written) ~= used then
    redis.call('SET', counter, used)
    redis.call('INCR', sightings)
    redis.call('EXPIRE', sightings, remembered_seconds)
  end
end
return tonumber(redis.call('GET', sightings) or 0)
