-- The life of a run: created -> running <-> rate_limited -> completed | failed | stopped. Needs: queue, flow, stream, cron, workflow.
-- `open` counts fetch tasks, `chunks` what is not yet delivered or dead-lettered. A run whose status is final may
-- still have chunks to deliver; its terminal event is queued when none is left, and `terminal` is set with it.

local function run_active(status)
  return status == 'running' or status == 'rate_limited'
end

-- Keeps a finished run for its retention time.
local function run_retire(base, run, run_key)
  local retention, account = unpack(redis.call('HMGET', run_key, 'retention_ms', 'account'))
  redis.call('SREM', base .. ':account:' .. account .. ':run', run)
  for _, suffix in ipairs({ '', ':spec', ':error', ':event' }) do
    redis.call('PEXPIRE', run_key .. suffix, retention)
  end
end

-- `previous_run_date` of each resource that was fetched whole and delivered whole becomes this run's start. A child is
-- fetched whole only if its parent was: what hangs on a parent that was not fetched was never asked for.
local function advance_watermarks(base, run_key)
  local run = redis.call('HMGET', run_key, 'account', 'job', 'started_at', 'nodes')
  local key = base .. ':watermark:' .. run[1] .. ':' .. run[2]
  local fetched = {}
  for i = 0, (tonumber(run[4]) or 0) - 1 do
    local n = 'n' .. i .. ':'
    local node = redis.call('HMGET', run_key, n .. 'done', n .. 'errors', n .. 'dead', n .. 'name', n .. 'parent')
    -- Parents stand before their children.
    local parent = tonumber(node[5])
    fetched[i] = node[1] and (tonumber(node[2]) or 0) == 0 and (parent == nil or fetched[parent])
    local whole = fetched[i] and (tonumber(node[3]) or 0) == 0
    if whole and (tonumber(redis.call('HGET', key, node[4])) or 0) < tonumber(run[3]) then
      redis.call('HSET', key, node[4], run[3])
    end
  end
end

-- Queues the terminal event once nothing is left to fetch or to deliver.
local function run_settle(base, run, run_key, now)
  local state = redis.call('HMGET', run_key, 'status', 'open', 'chunks', 'terminal', 'events', 'webhook')
  local status = state[1]
  if state[4] or status == 'created' or (tonumber(state[3]) or 0) > 0 then
    return
  end
  if run_active(status) then
    if (tonumber(state[2]) or 0) > 0 then
      return
    end
    status = 'completed'
  end
  redis.call('HSET', run_key, 'status', status, 'finished_at', now, 'terminal', 1)
  advance_watermarks(base, run_key)
  local trigger = redis.call('HGET', run_key, 'cron')
  if trigger then
    cron_hasten(base, trigger, run, now)
  end
  local event_type = 'sync_job_run:' .. status
  -- Its id follows from the run's, which ends once.
  local payload = '{"sync_job_run_id":"' .. run .. '"}'
  start_workflows(base, redis.call('HGET', run_key, 'environment'), 'evt_' .. run:sub(5), event_type, payload, now)
  if subscribed(state[5], event_type) then
    stream_push(base, run, run_key, state[6], 'c', event_type, 0, 0, '')
    stream_schedule(base, run, run_key, 'c', now)
  else
    run_retire(base, run, run_key)
  end
end

-- Ends a run early. What was committed is still delivered; what waits to be fetched is dropped as it is met.
local function run_end(base, run, run_key, status, code, message, resource, now)
  redis.call('HSET', run_key, 'status', status, 'open', 0)
  if code ~= '' then
    redis.call('HSET', run_key, 'error_code', code, 'error_message', message, 'error_resource', resource)
  end
  run_settle(base, run, run_key, now)
end

-- A node whose tasks are all gone and whose parent is done gets no more records.
local function node_done(base, run, run_key, node, now)
  redis.call('HSET', run_key, 'n' .. node .. ':done', 1)
  stream_schedule(base, run, run_key, node, now)
  local kids = redis.call('HGET', run_key, 'n' .. node .. ':kids') or ''
  for kid in kids:gmatch('%d+') do
    if (tonumber(redis.call('HGET', run_key, 'n' .. kid .. ':open')) or 0) == 0 then
      node_done(base, run, run_key, kid, now)
    end
  end
end

-- One fetch task of `node` has ended.
local function node_task_done(base, run, run_key, node, now)
  redis.call('HINCRBY', run_key, 'open', -1)
  if redis.call('HINCRBY', run_key, 'n' .. node .. ':open', -1) > 0 then
    return
  end
  local parent = redis.call('HGET', run_key, 'n' .. node .. ':parent')
  if not parent or parent == '' or redis.call('HGET', run_key, 'n' .. parent .. ':done') then
    node_done(base, run, run_key, node, now)
  end
end

-- A run that waited for a rate limit goes on, once the lane is free again: answers to requests that were under way when
-- the limit came don't end the wait.
local function run_resume(run_key, status, now)
  if status == 'rate_limited' and now >= (tonumber(redis.call('HGET', run_key, 'limited_until')) or 0) then
    redis.call('HSET', run_key, 'status', 'running')
  end
end
