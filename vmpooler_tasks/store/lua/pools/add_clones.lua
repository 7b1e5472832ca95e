-- Shared: adds new VMs to pending. Each of `names` that is free, up to `max_clones` of them, gets its metadata (`field, value,
-- …`) and a slot. Returns the names that were added; none while another pool manager is at work, or may be. The work says that
-- these workers started the clone, also if the key of the slots is lost.
-- uses: pools/lease
local function add_clones(names, max_clones, pending, slots, counter, lease_end, vm_prefix, work_prefix, metadata, lineage)
  local added = {}
  if is_watching(counter[2]) then return added end
  for i = 1, #names do
    if #added >= max_clones then break end
    local vm = names[i]
    if redis.call('EXISTS', vm_prefix .. vm, work_prefix .. vm) == 0 then
      redis.call('SADD', pending, vm)
      redis.call('HSET', vm_prefix .. vm, unpack(metadata))
      redis.call('ZADD', slots, lease_end, vm)
      redis.call('HSET', work_prefix .. vm, 'started', 1, unpack(lineage))
      redis.call('EXPIRE', work_prefix .. vm, 604800)
      added[#added + 1] = vm
    end
  end
  if #added > 0 then write_counter(slots, counter) end
  return added
end

-- Returns the words of ARGV behind position `first`, which holds their count; and the position after the last of them.
local function counted_words(first)
  local words, count = {}, tonumber(ARGV[first])
  for i = first + 1, first + count do words[#words + 1] = ARGV[i] end
  return words, first + count + 1
end

-- Returns the words of ARGV from position `first` to the end.
local function words_from(first)
  local words = {}
  for i = first, #ARGV do words[#words + 1] = ARGV[i] end
  return words
end
