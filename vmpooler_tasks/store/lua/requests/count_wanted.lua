-- Shared: returns how many VMs a request wants of one pool by one alias: the sum of the parts of `requested` (the text
-- `alias:pool:count,…`) that start with `before`, which is `alias:pool:`.
local function count_wanted(requested, before)
  local wanted = 0
  for part in string.gmatch(requested or '', '[^,]+') do
    local count = string.sub(part, 1, #before) == before and string.match(string.sub(part, #before + 1), '^%d+$')
    wanted = wanted + tonumber(count or 0)
  end
  return wanted
end
