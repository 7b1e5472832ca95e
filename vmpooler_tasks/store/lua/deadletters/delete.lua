-- uses: redis/counters
-- Delete dead letters and record who did it and why, as one step.
-- KEYS   1: dead letters   2: counters   3: audit (stream)
-- ARGV   1: queue   2: maximum count of audit entries   3: count of audit words   4…: audit field, value, …
--        then: members
-- RETURN how many were there to delete
local queue_key, counters, audit = KEYS[1], KEYS[2], KEYS[3]
local queue, max_audit_entries, word_count = ARGV[1], ARGV[2], tonumber(ARGV[3])

local deleted = 0
for i = 4 + word_count, #ARGV do
  deleted = deleted + redis.call('ZREM', queue_key, ARGV[i])
end
if deleted > 0 then
  count(counters, 'dead_letters_deleted:' .. queue, deleted)
  local record = {'XADD', audit, 'MAXLEN', '~', max_audit_entries, '*', 'count', deleted}
  for i = 4, 3 + word_count do record[#record + 1] = ARGV[i] end
  redis.call(unpack(record))
end
return deleted
