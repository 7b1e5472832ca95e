-- Shared: the brake of a pool, JSON in a hash: since, strays, missing, known, limit, is_new, unrecorded, confirmed. It is engaged until an
-- operator confirms a number of VMs. A record that cannot be read counts as engaged; numbers that cannot be are left out.
-- uses: redis/numbers
local function read_brake(brakes, pool)
  local record = redis.call('HGET', brakes, pool)
  if not record then return nil end
  local is_json, brake = pcall(cjson.decode, record)
  if not is_json or type(brake) ~= 'table' then return {} end
  for _, name in ipairs({'since', 'strays', 'missing', 'known', 'limit', 'unrecorded', 'confirmed'}) do
    if type(brake[name]) ~= 'number' then brake[name] = nil end
    brake[name] = number_of(brake[name])
  end
  return brake
end

local function is_engaged(brakes, pool)
  local brake = read_brake(brakes, pool)
  return brake ~= nil and type(brake.confirmed) ~= 'number'
end

-- Returns true if the metadata says that the destruction of its VM has started: such a VM is not held.
local function is_being_destroyed(metadata)
  return redis.pcall('HEXISTS', metadata, 'destroy') == 1
end

-- Returns the most VMs that may be completed as unknown or missing, of so many that are known.
local function brake_limit(known, max_percent, min_held)
  return math.max(min_held, math.floor(known * max_percent / 100))
end

-- Engages the brake of a pool, or renews the counts of one that is engaged. Returns {decision, JSON}.
local function engage_brake(brakes, audit, max_audit_entries, pool, now, counts)
  local before = read_brake(brakes, pool)
  local is_new = not (before and type(before.confirmed) ~= 'number' and type(before.since) == 'number')
  counts.since = is_new and tonumber(now) or before.since
  local record = cjson.encode(counts)
  redis.call('HSET', brakes, pool, record)
  if is_new then
    local why = string.format('%d in no queue, %d missing from the inventory, %d known', counts.strays, counts.missing, counts.known)
    redis.call('XADD', audit, 'MAXLEN', '~', max_audit_entries, '*', 'action', 'engage_brake', 'who', 'inspection', 'pool', pool,
      'count', counts.strays + counts.missing, 'why', why)
  end
  return {is_new and 'engaged_now' or 'engaged', record}
end
