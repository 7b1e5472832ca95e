-- uses: deadletters/trim
-- Count the bytes of the dead letters of one queue, if they are not known.
-- KEYS   1: dead letters   2: counters
-- ARGV   1: queue   2: maximum bytes: more are not counted
-- RETURN 1
local queue_key, counters, queue, max_bytes = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])

if counted_bytes(counters, queue_key, queue) then return 1 end
local size = redis.call('ZCARD', queue_key)
local kept, bytes = count_newest(queue_key, size, max_bytes)
count_bytes(counters, queue_key, queue, kept == size and bytes or nil)
if kept < size then redis.pcall('HSET', counters, (bytes_fields(queue)), max_bytes) end
return 1
