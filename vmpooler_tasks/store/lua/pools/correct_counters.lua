-- Compares VMPooler's counters of clones with the slots in use, which nobody else writes, and puts them right.
-- KEYS   1: sightings of another manager   2…: counter, slots
-- ARGV   1: seconds to remember a sighting
-- RETURN sightings lately
for k = 2, #KEYS, 2 do
  local shown, used = redis.call('GET', KEYS[k]), redis.call('ZCARD', KEYS[k + 1])
  if shown and tonumber(shown) ~= used then
    redis.call('SET', KEYS[k], used)
    redis.call('INCR', KEYS[1])
    redis.call('EXPIRE', KEYS[1], ARGV[1])
  end
end
return tonumber(redis.call('GET', KEYS[1]) or 0)
