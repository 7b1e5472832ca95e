-- Shared: the first part of every script that may write. Of the script's KEYS it sets aside each key of this project that has
-- another type than it must have: it renames the key, and the script finds none, as after a deletion. Otherwise the script would
-- fail in the middle, and all the work that needs the key would stand still. A script that takes such keys from its arguments
-- calls `guard_type` for each. `redis/scripts.py` fills in the names in @…@.
local guard_type, set_aside_count = nil, 0
do
  -- `;name=type;…`: a table of constants would be built anew in each run of each script, which costs more than the search.
  local fixed, families, patterns = '@FIXED@', '@FAMILIES@', {@PATTERNS@}
  local prefix, record, keep_seconds, max_records = '@PREFIX@', '@RECORD@', @KEEP_SECONDS@, 1000

  local function type_in(list, name)
    local _, last = string.find(list, ';' .. name .. '=', 1, true)
    return last and string.match(list, '^%a+', last + 1)
  end

  -- Returns nil for a key that is unknown.
  local function type_of(name)
    local family_end = string.find(name, '__', 1, true)
    if not family_end then return type_in(fixed, name) end
    for i = 1, #patterns, 2 do
      if string.find(name, patterns[i]) then return patterns[i + 1] end
    end
    return type_in(families, string.sub(name, 1, family_end - 1))
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
    local expected = type_of(name)
    if expected and expected ~= found then set_aside(key, name, found) end
  end

  for i = 1, #KEYS do guard_type(KEYS[i]) end
end
