-- uses: deadletters/error_class
-- Count the dead letters of one page by class of error.
-- KEYS   1: dead letters
-- ARGV   1: rank of the first   2: rank of the last
-- RETURN {size of the page, class, count, …}
local queue_key = KEYS[1]
local first, last = ARGV[1], ARGV[2]

local page, counts = redis.call('ZRANGE', queue_key, first, last), {}
for i = 1, #page do
  local class = error_class(page[i])
  counts[class] = (counts[class] or 0) + 1
end
local result = {#page}
for class, count in pairs(counts) do
  result[#result + 1] = class
  result[#result + 1] = count
end
return result
