-- Shared: returns the final status of a request; nil while it is open. Any other status is set on the way there, by VMPooler.
local function final_status(request)
  local status = redis.call('HGET', request, 'status')
  return (status == 'ready' or status == 'failed' or status == 'deleted') and status or nil
end
