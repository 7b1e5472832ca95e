-- uses: redis/counters
-- uses: deadletters/bytes
-- Run the dead letter of a task again with changed arguments: in the step in which it leaves, its message goes to the
-- workers, and the audit keeps the arguments before and after.
-- KEYS   1: dead letters   2: counters   3: audit (stream)   4: the workers' queue (list)
-- ARGV   1: dead letter   2: queue of dead letters   3: message ('' if it was sent before, to another server)
--        4: 1 to report only: a dead letter that is there stays where it is   5: maximum count of audit entries
--        6…: audit field, value, …
-- RETURN 1; 0 if the dead letter left its queue before
local queue_key, counters, audit, workers_queue = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local member, queue, message, reports_only = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local max_audit_entries, first_word = ARGV[5], 6

if not redis.call('ZSCORE', queue_key, member) then return 0 end
if reports_only then return 1 end
if message ~= '' then redis.call('LPUSH', workers_queue, message) end
remove_and_count_bytes(counters, queue_key, queue, member)
count(counters, 'dead_letters_redriven:' .. queue, 1)
redis.call('XADD', audit, 'MAXLEN', '~', max_audit_entries, '*', unpack(ARGV, first_word))
return 1
