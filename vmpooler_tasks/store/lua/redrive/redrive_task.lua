-- uses: redrive/run_step
-- Run the dead letter of a task again: its message goes to the workers in the step in which the dead letter leaves.
-- KEYS   1: dead letters   2: the run   3: counters   4: the workers' queue (list)   5: queue in which its VM has to be
-- ARGV   1: position   2: dead letter   3: queue of dead letters   4: message ('' if it was sent before, to another server)
--        5: VM that has to be in its queue ('' for none)   6: outcome, if it is decided already ('' if not)
--        7: 1 to report only: a dead letter that can be run again stays where it is
-- RETURN outcome
local queue_key, run, counters, workers_queue, vm_queue = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local position, member, queue, message = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local vm, decided, reports_only = ARGV[5], ARGV[6], ARGV[7] == '1'

local function finish(outcome) return step_on(run, queue_key, member, counters, queue, outcome) end

if not is_at(run, position) then return 'moved_on' end
if not redis.call('ZSCORE', queue_key, member) then return finish('gone') end
if decided ~= '' then return finish(decided) end
if vm ~= '' and redis.call('SISMEMBER', vm_queue, vm) == 0 then return finish('obsolete') end
if reports_only then return 'redriven' end
if message ~= '' then redis.call('LPUSH', workers_queue, message) end
return finish('redriven')
