-- Shared: the first part of every script that may write. Of the script's KEYS it sets aside each key of this project that has
-- another type than it must have: it renames the key, and the script finds none, as after a deletion. Otherwise the script would
-- fail in the middle, and all the work that needs the key would stand still. A script that takes such keys from its arguments
-- calls `guard_type` for each. `redis/scripts.py` fills in the names in @…@.
local guard_type, set_aside_count = nil, 0
do
  local types, families, patterns = {@TYPES@}, {@FAMILIES@}, {@PATTERNS@}
  local prefix, record, keep_seconds, max_records = '@PREFIX@', '@RECORD@', @KEEP_SECONDS@, 1000

  -- Returns the type of a key that has none of the fixed names; nil for a key that is unknown.
  local function type_by_family(name)
    for pattern, kind in pairs(patterns) do
      if string.find(name, pattern) then return kind end
    end
    return families[string.match(name, '^(.-)__')]
  end

  local function set_aside(key, name, found)
    local copy = record .. '__' .. name
    local renamed = redis.pcall('RENAME', key, copy)
    if renamed.err then return end  -- this user may not: the script itself fails, and a health reason names the key
    set_aside_count = set_aside_count + 1
    redis.call('EXPIRE', copy, keep_seconds)
    if redis.call('TYPE', record).ok ~= 'hash' then redis.call('DEL', record) end
    if redis.call('HLEN', record) >= max_records then return end
    redis.pcall('HSET', record, key, redis.call('TIME')[1] .. ' ' .. found)  -- may fail: Redis may be out of memory
    redis.call('EXPIRE', record, keep_seconds)
  end

  function guard_type(key)
    if string.sub(key, 1, #prefix) ~= prefix then return end
    local found = redis.call('TYPE', key).ok
    if found == 'none' then return end
    local name = string.sub(key, #prefix + 1)
    local expected = types[name] or type_by_family(name)
    if expected and expected ~= found then set_aside(key, name, found) end
  end

  for i = 1, #KEYS do guard_type(KEYS[i]) end
end
