-- Shared: one step of a run of redrives, which is a hash: state, position, and a count for each outcome.
-- uses: redis/counters
local function is_here(run, position)
  local found = redis.call('HMGET', run, 'state', 'position')
  return found[1] == 'running' and found[2] == position
end

-- The letter at this position has come to this; what is not kept leaves its queue.
local function step_on(run, letters, member, counters, queue, outcome)
  if outcome == 'redriven' or outcome == 'obsolete' then
    redis.call('ZREM', letters, member)
    count(counters, 'dead_letters_' .. outcome .. ':' .. queue, 1)
  end
  redis.call('HINCRBY', run, outcome, 1)
  redis.call('HINCRBY', run, 'position', 1)
  return outcome
end
