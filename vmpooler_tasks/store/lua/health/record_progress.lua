-- uses: pools/progress
-- uses: redis/numbers
-- Records that some work has ended well, by the server's clock. `since:WORK` is its first end after a start: one that comes
-- after a gap counts as a start, unless the work ran only shortly before it (a worker that crashes again and again).
-- KEYS   1: progress
-- ARGV   1: work   2: seconds without an end that make a gap   3: seconds that make a run
-- RETURN OK
local progress, work = KEYS[1], ARGV[1]
local gap, run = tonumber(ARGV[2]), tonumber(ARGV[3])

local now = tonumber(redis.call('TIME')[1])
local ends = redis.pcall('HMGET', progress, work, 'since:' .. work)
local last, since = number_of(ends[1]), number_of(ends[2])
local is_start = not (last and since) or since > now or (now - last > gap and last - since >= run)
note_end(progress, work)
redis.pcall('HSET', progress, 'since:' .. work, is_start and now or since)
redis.pcall('HDEL', progress, 'error:' .. work)
return redis.status_reply('OK')
