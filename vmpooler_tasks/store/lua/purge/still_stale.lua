-- Shared: which VMs of a batch are still in their queue, with the timestamp on which the decision was made.
-- ARGV holds the batch from `first` on: a VM, its timestamp as it was read ('' for none), and `width - 2` more values.
-- Returns a flag for each VM of the batch, the VMs that are still stale, and the index in ARGV of each of these.
local function unchanged(vm_key, field, expected)
  local value = redis.pcall('HGET', vm_key, field)
  if type(value) == 'table' then return expected == '' end
  return (value or '') == expected
end

local function still_stale(queue, prefix, field, first, width)
  local vms, flags, stale, places = {}, {}, {}, {}
  for i = first, #ARGV, width do vms[#vms + 1] = ARGV[i] end
  local queued = redis.call('SMISMEMBER', queue, unpack(vms))
  for i = 1, #vms do
    local place = first + (i - 1) * width
    flags[i] = 0
    if queued[i] == 1 and unchanged(prefix .. vms[i], field, ARGV[place + 1]) then
      flags[i] = 1
      stale[#stale + 1] = vms[i]
      places[#places + 1] = place
    end
  end
  return flags, stale, places
end
