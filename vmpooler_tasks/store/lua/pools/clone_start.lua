-- Shared: begins clones. Each of `names` that is free and fits below the limit goes into pending with its metadata
-- (`field, value, …`), and takes a slot. Answers the names that were begun.
-- uses: pools/lease
local function begin_clones(names, most, pending, slots, counter, lease_end, vm_prefix, work_prefix, metadata, lineage)
  local begun = {}
  for i = 1, #names do
    if #begun >= most then break end
    local vm = names[i]
    if redis.call('EXISTS', vm_prefix .. vm, work_prefix .. vm) == 0 then
      redis.call('SADD', pending, vm)
      redis.call('HSET', vm_prefix .. vm, unpack(metadata))
      redis.call('ZADD', slots, lease_end, vm)
      if #lineage > 0 then
        redis.call('HSET', work_prefix .. vm, unpack(lineage))
        redis.call('EXPIRE', work_prefix .. vm, 604800)
      end
      begun[#begun + 1] = vm
    end
  end
  if #begun > 0 then redis.call('SET', counter, redis.call('ZCARD', slots)) end
  return begun
end

-- The words of ARGV from `first` on, of which the first is their count; and the place behind them.
local function words_from(first)
  local words, count = {}, tonumber(ARGV[first])
  for i = first + 1, first + count do words[#words + 1] = ARGV[i] end
  return words, first + count + 1
end
