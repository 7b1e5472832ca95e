-- Shared: one step of a run of redrives, which is a hash: state, position, and a count for each outcome.
-- uses: redis/counters
-- uses: redis/numbers
-- uses: deadletters/bytes

-- Return whether the run has not ended and stands at this position.
local function is_at(run, position)
  local found = redis.call('HMGET', run, 'state', 'position')
  return found[1] == 'running' and math.max(number_of(found[2]) or 0, 0) == tonumber(position)
end

-- Count the outcome, remove a dead letter that is not kept, and move the run to its next position. Return the outcome.
local function step_on(run, queue_key, member, counters, queue, outcome)
  if outcome == 'redriven' or outcome == 'obsolete' then
    remove_and_count_bytes(counters, queue_key, queue, member)
    count(counters, 'dead_letters_' .. outcome .. ':' .. queue, 1)
  end
  add_to_count(run, outcome, 1)
  add_to_count(run, 'position', 1)
  return outcome
end
