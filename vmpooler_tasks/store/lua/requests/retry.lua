-- Shared: retries or fails the request of a failed VM. The request fails if the error is permanent or its retries are used up;
-- the tick that fills requests then cleans up. Otherwise the VM's item is queued again; '' means that the VM has no request.
-- Returns the outcome (none, retried, failed) and the retries so far.
-- uses: requests/status
-- uses: requests/close_status
-- uses: requests/put_item
local function retry_request(request, items, item, is_permanent, max_retries, reason)
  if item == '' then return 'none', 0 end
  local requested, retry_count = unpack(redis.call('HMGET', request, 'requested', 'retry_count'), 1, 2)
  if not requested or final_status(request) then return 'none', 0 end
  local retries = tonumber(string.match(retry_count or '0', '^%d+') or 0)
  if is_permanent or retries >= max_retries then
    set_final_status(request, 'failed', is_permanent and reason or 'Max retry attempts exceeded')
    return 'failed', retries
  end
  redis.call('HSET', request, 'retry_count', retries + 1)
  local before, behind = string.match(item, '^(.*:)1(:[^:]*)$')
  put_item(items, 1, before, 1, behind)
  return 'retried', retries + 1
end
