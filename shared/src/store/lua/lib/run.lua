-- The life of a run: created -> running <-> rate_limited -> completed | failed | stopped. Needs: clock, queue, timeline,
-- mutex, flow, stream, cron, workflow, index.
-- `open` counts fetch tasks, `chunks` what is not yet delivered or dead-lettered. A run whose status is final may
-- still have chunks to deliver; its terminal event is queued when none is left, and `terminal` is set with it.

local function run_active(status)
  return status == 'running' or status == 'rate_limited'
end

-- What is kept of a run that has ended.
local KEPT = { '', ':spec', ':error', ':event', ':timeline', ':failed', ':retry' }

local function run_forget(run_key)
  for _, suffix in ipairs(KEPT) do
    redis.call('UNLINK', run_key .. suffix)
  end
end

-- Keeps a finished run for its retention time; forgets a deleted one.
local function run_retire(base, run, run_key)
  local state = redis.call('HMGET', run_key, 'retention_ms', 'account', 'deleted_at')
  local of_account = base .. ':account:' .. state[2]
  redis.call('SREM', of_account .. ':run', run)
  if state[3] then
    return run_forget(run_key)
  end
  list_kept(of_account .. ':ended', base .. ':run:', run, tonumber(state[1]))
  for _, suffix in ipairs(KEPT) do
    redis.call('PEXPIRE', run_key .. suffix, state[1])
  end
end

-- A run that starts: from here on it lasts.
local function run_began(base, run, run_key, now)
  local max_ms = redis.call('HGET', run_key, 'max_duration_ms')
  if max_ms then
    redis.call('ZADD', base .. ':deadlines', now + tonumber(max_ms), run)
  end
  note(base, run_key, 'running')
end

-- `previous_run_date` of each resource that was fetched whole and delivered whole becomes this run's start. A child is
-- fetched whole only if its parent was: what hangs on a parent that was not fetched was never asked for.
-- A retry makes the run before it whole: that one's start counts (`watermark`), except for nodes of which it has dead
-- letters (`undelivered`).
local function advance_watermarks(base, run_key)
  local run = redis.call('HMGET', run_key, 'account', 'job', 'started_at', 'nodes', 'watermark', 'undelivered')
  local start, undelivered = run[5] or run[3], run[6] or ','
  local key = base .. ':watermark:' .. run[1] .. ':' .. run[2]
  local fetched, moved = {}, false
  for i = 0, (tonumber(run[4]) or 0) - 1 do
    local n = 'n' .. i .. ':'
    local node = redis.call('HMGET', run_key, n .. 'done', n .. 'errors', n .. 'dead', n .. 'name', n .. 'parent')
    -- Parents stand before their children.
    local parent = tonumber(node[5])
    fetched[i] = node[1] and (tonumber(node[2]) or 0) == 0 and (parent == nil or fetched[parent])
    local whole = fetched[i] and (tonumber(node[3]) or 0) == 0 and not undelivered:find(',' .. i .. ',', 1, true)
    if whole and (tonumber(redis.call('HGET', key, node[4])) or 0) < tonumber(start) then
      redis.call('HSET', key, node[4], start)
      moved = true
    end
  end
  if moved then
    redis.call('SADD', base .. ':watermark:' .. run[1], run[2])
  end
end

-- A run that is active no more: a fire of its cron trigger may wait for that.
local function hasten_cron(base, run, run_key, now)
  local trigger = redis.call('HGET', run_key, 'cron')
  if trigger then
    cron_hasten(base, trigger, run, now)
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
  redis.call('ZREM', base .. ':deadlines', run)
  advance_watermarks(base, run_key)
  note(base, run_key, 'finished', { status = status }, true)
  mutex_leave(base, run, run_key, now)
  hasten_cron(base, run, run_key, now)
  local event_type = 'sync_job_run:' .. status
  -- Its id follows from the run's, which ends once.
  local of = redis.call('HMGET', run_key, 'environment', 'account', 'job', 'workflow_chain')
  local payload = '{"sync_job_run_id":"' .. run .. '","sync_job_id":"' .. of[3] .. '","integrated_account_id":"' .. of[2]
    .. '","workflow_chain":' .. (of[4] or 0) .. '}'
  start_workflows(base, of[1], 'evt_' .. run:sub(5), event_type, payload, now)
  if subscribed(state[5], event_type) then
    stream_push(base, run, run_key, state[6], 'c', event_type, 0, 0, snapshot(run_key))
    stream_schedule(base, run, run_key, 'c', now)
  else
    run_retire(base, run, run_key)
  end
end

-- Ends a run early. What was committed is still delivered; what waits to be fetched is dropped as it is met.
local function run_end(base, run, run_key, status, code, message, resource, now)
  local before = redis.call('HMGET', run_key, 'open', 'waiting', 'status')
  redis.call('HSET', run_key, 'status', status, 'open', 0)
  if before[3] == 'created' or (tonumber(before[1]) or 0) > 0 then
    redis.call('HSET', run_key, 'unfetched', math.max(1, tonumber(before[1]) or 0))
  end
  local detail = nil
  if code ~= '' then
    redis.call('HSET', run_key, 'error_code', code, 'error_message', message, 'error_resource', resource)
    detail = { code = code, message = message }
  end
  note(base, run_key, status, detail, true)
  hasten_cron(base, run, run_key, now)
  if before[2] then
    mutex_leave(base, run, run_key, now)
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
    local base, run = run_key:match('^(.*):run:([^:]+)$')
    note(base, run_key, 'running')
    tell_run(base, run, run_key, 'sync_job_run:updated', now)
  end
end

-- A fetch that was given up, for a retry: its task as it was, with node, parents and cursor.
local MOST_FAILED, MOST_FAILED_BYTES = 10000, 16 * 1024 * 1024
local function remember_failed(run_key, body)
  redis.call('HINCRBY', run_key, 'n' .. body:match('^%S+ (%S+)') .. ':failed', 1)
  local bytes = tonumber(redis.call('HGET', run_key, 'failed_bytes')) or 0
  if redis.call('LLEN', run_key .. ':failed') >= MOST_FAILED or bytes + #body > MOST_FAILED_BYTES then
    redis.call('HINCRBY', run_key, 'failed_dropped', 1)
  else
    redis.call('RPUSH', run_key .. ':failed', body)
    redis.call('HINCRBY', run_key, 'failed_bytes', #body)
  end
end

-- A run that retries another: its first tasks are the fetches that failed there, whose records wait for no parent. Adds
-- them to `entries`.
local function retry_begin(base, run, run_key, entries, now)
  local list = run_key .. ':retry'
  local bodies, by_node = redis.call('LRANGE', list, 0, -1), {}
  if #bodies == 0 then
    return
  end
  for i, body in ipairs(bodies) do
    local kind, node, rest = body:match('^(%S+) (%S+) %d+ (.*)$')
    entries[i] = entry_of(run .. '.' .. i, 0, 0, now, kind .. ' ' .. node .. ' 0 ' .. rest)
    by_node[node] = (by_node[node] or 0) + 1
  end
  redis.call('DEL', list)
  redis.call('HSET', run_key, 'open', #bodies, 'tasks', #bodies, 'retried', #bodies)
  for node, count in pairs(by_node) do
    redis.call('HSET', run_key, 'n' .. node .. ':open', count)
  end
  -- Nodes of which nothing is fetched again are done from the start.
  for i = 0, (tonumber(redis.call('HGET', run_key, 'nodes')) or 0) - 1 do
    local parent = redis.call('HGET', run_key, 'n' .. i .. ':parent')
    if (not parent or parent == '') and not by_node[tostring(i)] then
      node_done(base, run, run_key, i, now)
    end
  end
end
