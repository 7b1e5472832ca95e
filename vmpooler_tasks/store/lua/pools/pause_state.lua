-- Shared: returns `paused` or `draining` for a pool that an operator paused; nil for any other pool. A record that cannot be read
-- counts as paused.
local function pause_state(paused, pool)
  local record = redis.call('HGET', paused, pool)
  if not record then return nil end
  local is_json, pause = pcall(cjson.decode, record)
  return is_json and type(pause) == 'table' and pause.state == 'draining' and 'draining' or 'paused'
end
