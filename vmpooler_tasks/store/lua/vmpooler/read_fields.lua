-- Reads fields of many hashes in one round trip.
-- KEYS   none (they are named by ARGV)
-- ARGV   1: count of fields   2…: the fields   then: keys of hashes
-- RETURN one list of values for each key, nil where a field is missing or the key is not a hash
local field_count, result = tonumber(ARGV[1]), {}
for i = 2 + field_count, #ARGV do
  local values = redis.pcall('HMGET', ARGV[i], unpack(ARGV, 2, 1 + field_count))
  if values.err then
    values = {}
    for f = 1, field_count do values[f] = false end
  end
  result[#result + 1] = values
end
return result
