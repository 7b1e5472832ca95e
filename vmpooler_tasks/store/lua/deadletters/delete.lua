-- uses: redis/counters
-- uses: deadletters/bytes
-- Delete dead letters and record who did it and why, as one step.
-- KEYS   1: dead letters   2: counters   3: audit (stream)
-- ARGV   1: queue   2: maximum count of audit entries   3: count of audit words   4…: audit field, value, …
--        then: members
-- RETURN how many were there to delete
local queue_key, counters, audit = KEYS[1], KEYS[2], KEYS[3]
local queue, max_audit_entries, word_count = ARGV[1], ARGV[2], tonumber(ARGV[3])

local deleted, bytes = 0, counted_bytes(counters, queue_key, queue)
for i = 4 + word_count, #ARGV do
  if redis.call('ZREM', queue_key, ARGV[i]) == 1 then
    deleted = deleted + 1
    bytes = bytes and bytes - #ARGV[i]
  end
end
count_bytes(counters, queue_key, queue, bytes)
if deleted > 0 then
  count(counters, 'dead_letters_deleted:' .. queue, deleted)
  local record = {'XADD', audit, 'MAXLEN', '~', max_audit_entries, '*', 'count', deleted}
  for i = 4, 3 + word_count do record[#record + 1] = ARGV[i] end
  redis.call(unpack(record))
end
return deleted
