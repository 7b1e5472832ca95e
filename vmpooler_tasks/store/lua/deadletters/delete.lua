-- uses: redis/counters
-- Deletes dead letters and records who did it and why, as one step.
-- KEYS   1: dead letters   2: counters   3: audit (stream)
-- ARGV   1: queue   2: most audit entries   3: count of audit words   4…: audit field, value, …   then: members
-- RETURN how many were there to delete
local words = tonumber(ARGV[3])
local deleted = 0
for i = 4 + words, #ARGV do
  deleted = deleted + redis.call('ZREM', KEYS[1], ARGV[i])
end
if deleted > 0 then
  count(KEYS[2], 'dead_letters_deleted:' .. ARGV[1], deleted)
  local record = {'XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'count', deleted}
  for i = 4, 3 + words do record[#record + 1] = ARGV[i] end
  redis.call(unpack(record))
end
return deleted
