-- Shared: what a failed VM means for the request that it was made for. The request is failed if the error is permanent
-- or it was tried too often (the tick that fills requests lets it go); else the VM's item is put back. Answers the outcome
-- (none, retried, failed) and the retries.
-- uses: requests/status
-- uses: requests/set_status
-- uses: requests/put_item
local function retry_request(request, items, item, permanent, most, reason)
  local found = redis.call('HMGET', request, 'requested', 'retry_count')
  if not found[1] or answer_to(request) then return 'none', 0 end
  local retries = tonumber(string.match(found[2] or '0', '^%d+') or 0)
  if permanent or retries >= most then
    answer_request(request, 'failed', permanent and reason or 'Max retry attempts exceeded')
    return 'failed', retries
  end
  redis.call('HSET', request, 'retry_count', retries + 1)
  local before, behind = string.match(item, '^(.*:)1(:[^:]*)$')
  put_item(items, 1, before, 1, behind)
  return 'retried', retries + 1
end
