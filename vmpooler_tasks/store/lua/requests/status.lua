-- Shared: how a request was answered, if it was; any other status is somebody else's, on the way there.
local function answer_to(request)
  local status = redis.call('HGET', request, 'status')
  return (status == 'ready' or status == 'failed' or status == 'deleted') and status or nil
end
