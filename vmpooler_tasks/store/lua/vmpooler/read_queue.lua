-- Reads one page of a queue with each VM's timestamp, in one round trip.
-- KEYS   1: queue (set of VM names)
-- ARGV   1: cursor of the last page, 0 for the first   2: approximate size of a page   3: metadata prefix   4: field
-- RETURN {cursor, names, values}; a value is nil where the field or the hash is missing, 1 where the key is not a hash
local queue = KEYS[1]
local cursor, page_size, prefix, field = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local pcall = redis.pcall
local page = redis.call('SSCAN', queue, cursor, 'COUNT', page_size)
local names, values = page[2], {}
for i = 1, #names do
  local value = pcall('HGET', prefix .. names[i], field)
  if type(value) == 'table' then value = 1 end
  values[i] = value
end
return {page[1], names, values}
