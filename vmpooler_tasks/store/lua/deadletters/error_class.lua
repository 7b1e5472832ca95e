-- Shared: return the class of a dead letter's error as counters and labels name it, at most 64 plain characters.
-- Both forms of a dead letter are understood: ours and VMPooler's.
local function error_class(member)
  local _, behind = string.find(member, '"error_class":"', 1, true)
  if not behind then _, behind = string.find(member, '"error_class"%s*:%s*"') end
  local found = behind and string.match(string.sub(member, behind + 1, behind + 64), '^[^"]+')
  return found and string.gsub(found, '[^%w_.:-]', '_') or 'unknown'
end
