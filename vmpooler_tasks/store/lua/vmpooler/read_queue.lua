-- One page of a queue with each VM's timestamp, in one round trip.
-- KEYS   1: queue (set of VM names)
-- ARGV   1: cursor of the last page, 0 to begin   2: about how many   3: prefix of metadata keys   4: field
-- RETURN {cursor, names, values}; a value is nil where the field or the hash is missing, 1 where the key is no hash
local page = redis.call('SSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local names, values = page[2], {}
local prefix, field, pcall = ARGV[3], ARGV[4], redis.pcall
for i = 1, #names do
  local value = pcall('HGET', prefix .. names[i], field)
  if type(value) == 'table' then value = 1 end
  values[i] = value
end
return {page[1], names, values}
