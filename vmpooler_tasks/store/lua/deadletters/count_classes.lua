-- uses: deadletters/error_class
-- How many letters of one page there are of each class of error.
-- KEYS   1: dead letters
-- ARGV   1: rank of the first   2: rank of the last
-- RETURN {letters looked at, class, count, …}
local letters, counts = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2]), {}
for i = 1, #letters do
  local class = error_class(letters[i])
  counts[class] = (counts[class] or 0) + 1
end
local result = {#letters}
for class, count in pairs(counts) do
  result[#result + 1] = class
  result[#result + 1] = count
end
return result
