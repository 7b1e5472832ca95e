-- uses: redrive/run_step
-- Runs the dead letter of a task again: its message goes to the workers in the step in which the letter leaves.
-- KEYS   1: dead letters   2: the run   3: counters   4: the workers' queue (list)   5: queue that its VM has to be in
-- ARGV   1: position   2: letter   3: queue   4: message ('' if it was sent already, to another server)
--        5: VM that has to be in its queue ('' for none)   6: outcome, if it is decided already ('' if not)
--        7: 1 if there is no message yet: what would be run again is not, and stays
-- RETURN outcome
if not is_here(KEYS[2], ARGV[1]) then return 'moved_on' end
local function answer(outcome) return step_on(KEYS[2], KEYS[1], ARGV[2], KEYS[3], ARGV[3], outcome) end
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then return answer('gone') end
if ARGV[6] ~= '' then return answer(ARGV[6]) end
if ARGV[5] ~= '' and redis.call('SISMEMBER', KEYS[5], ARGV[5]) == 0 then return answer('obsolete') end
if ARGV[7] == '1' then return 'redriven' end
if ARGV[4] ~= '' then redis.call('LPUSH', KEYS[4], ARGV[4]) end
return answer('redriven')
