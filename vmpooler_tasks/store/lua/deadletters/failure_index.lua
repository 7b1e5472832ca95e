-- Shared: counts failures for each pool in steps of five minutes, so that a flood of dead letters need not be read to count it.
-- A step is a hash that expires by itself: `count:<pool>` and `message:<pool>`, the pool's newest error message (cut).
-- What VMPooler puts in, and what was deleted since, is not known here: `recent_failures` reads the dead letters as well.
local failure_step_seconds, failure_steps = 300, 13
local max_failure_fields, max_message_bytes = 4000, 500

local function failure_step(counters, epoch)
  return counters .. '__failures__' .. string.format('%.0f', math.floor(epoch / failure_step_seconds))
end

-- The text of a JSON string that starts at this place, still escaped; nil if it has no end.
local function json_text(member, start)
  local place = start
  while true do
    local quote = string.find(member, '"', place, true)
    if not quote then return nil end
    local backslashes = 0
    while string.byte(member, quote - 1 - backslashes) == 92 do backslashes = backslashes + 1 end
    if backslashes % 2 == 0 then return string.sub(member, start, quote - 1) end
    place = quote + 1
  end
end

-- The value of a text field, still escaped, whichever form the dead letter has. A quote within a value is escaped, so
-- that `"pool":"` stands for the field alone.
local function text_field(member, name, before)
  local start, stop = string.find(member, '"' .. name .. '":"', 1, true)
  if not start then start, stop = string.find(member, '"' .. name .. '"%s*:%s*"') end
  if not start or (before and start > before) then return nil end
  return json_text(member, stop + 1)
end

-- The pool of a dead letter; one that stands in a task's arguments is not the dead letter's own.
local function pool_of(member)
  return text_field(member, 'pool', string.find(member, '"args":', 1, true) or string.find(member, '"kwargs":', 1, true))
end

-- `dead_letters` is {score, member, score, member, …}. Nothing here may fail: the dead letter counts, not its index.
local function index_failures(counters, dead_letters)
  local added = {}
  for i = 1, #dead_letters, 2 do
    local epoch, member = tonumber(dead_letters[i]), dead_letters[i + 1]
    local pool = pool_of(member)
    if epoch and pool and pool ~= '' then
      local step = failure_step(counters, epoch)
      added[step] = added[step] or {}
      local failures = added[step][pool] or {count = 0}
      failures.count, failures.last = failures.count + 1, member
      added[step][pool] = failures
    end
  end
  for step, pools in pairs(added) do
    for pool, failures in pairs(pools) do
      local fields = redis.pcall('HLEN', step)
      if type(fields) == 'number' and fields < max_failure_fields then
        local message = text_field(failures.last, 'error_message') or ''
        redis.pcall('HINCRBY', step, 'count:' .. pool, failures.count)
        redis.pcall('HSET', step, 'message:' .. pool, string.sub(message, 1, max_message_bytes))
        if fields == 0 then redis.pcall('EXPIRE', step, failure_step_seconds * failure_steps) end
      end
    end
  end
end
