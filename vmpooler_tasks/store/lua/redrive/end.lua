-- Ends a run of redrives, and records it in the audit, once.
-- KEYS   1: the run   2: its letters   3: audit
-- ARGV   1: state   2: most audit entries   3…: audit field, value, … (the counts are added)
-- RETURN 1; 0 if it had ended before
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[1])
redis.call('DEL', KEYS[2])
local record = {'XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3)}
for _, name in ipairs({'redriven', 'obsolete', 'kept', 'gone', 'failed_again'}) do
  record[#record + 1] = name == 'redriven' and 'count' or name
  record[#record + 1] = redis.call('HGET', KEYS[1], name) or '0'
end
redis.call(unpack(record))
return 1
