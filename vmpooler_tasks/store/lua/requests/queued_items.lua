-- Shared: returns the queued items of one part of a request that asks for `wanted` VMs, as {member, count}. The text of an item is
-- `before`, count, `behind`. Few possible texts are tried one by one; for more all items are read.
local function queued_items(items, wanted, before, behind)
  local FEW, found = 50, {}
  if wanted <= FEW then
    for count = 0, 2 * wanted do
      local member = before .. count .. behind
      if redis.call('ZSCORE', items, member) then found[#found + 1] = {member, count} end
    end
    return found
  end
  for _, member in ipairs(redis.call('ZRANGE', items, 0, -1)) do
    if string.sub(member, 1, #before) == before and string.sub(member, -#behind) == behind then
      local count = string.match(string.sub(member, #before + 1, -#behind - 1), '^%d+$')
      if count then found[#found + 1] = {member, tonumber(count)} end
    end
  end
  return found
end
