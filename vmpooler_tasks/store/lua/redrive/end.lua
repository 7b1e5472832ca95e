-- End a run of redrives and record it in the audit, once.
-- KEYS   1: the run   2: its dead letters   3: audit (stream)
-- ARGV   1: state of a run that has not ended   2: new state   3: maximum count of audit entries   4: count of the run's
--        counts   5…: their fields, `redriven` first, which the audit calls `count`   then: audit field, value, …
-- RETURN 1; 0 if the run had ended before
local run, dead_letters, audit = KEYS[1], KEYS[2], KEYS[3]
local running, new_state, max_audit_entries, field_count = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

if redis.call('HGET', run, 'state') ~= running then return 0 end
redis.call('HSET', run, 'state', new_state)
redis.call('DEL', dead_letters)
local record = {'XADD', audit, 'MAXLEN', '~', max_audit_entries, '*', unpack(ARGV, 5 + field_count)}
for i = 5, 4 + field_count do
  record[#record + 1] = i == 5 and 'count' or ARGV[i]
  record[#record + 1] = redis.call('HGET', run, ARGV[i]) or '0'
end
redis.call(unpack(record))
return 1
