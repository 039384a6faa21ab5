-- Streams of a run: `c` (created, started, rate_limited, updated, the end) and one for each node. Needs: queue, flow.
-- A stream is two lists of the same length: `stream:<n>` holds the chunks, `index:<n>` for each
-- `<event type> <records> <bytes> <gate>`; `gate` is the sequence number that the nearest delivered ancestor's stream must
-- have reached before the chunk may go. A chunk of an event other than `record` is a batch of its own, but for errors of
-- a node whose `batch_errors` is set.
-- There is at most one delivery task a stream; while there is one, `s<n>:task` is set.
local RECORD, RECORD_ERROR = 'sync_job_run:record', 'sync_job_run:record_error'

local function subscribed(events, event_type)
  return events == '*' or events:find(',' .. event_type .. ',', 1, true) ~= nil
end

local function stream_push(base, run, run_key, webhook, n, event_type, records, gate, chunk)
  redis.call('RPUSH', run_key .. ':index:' .. n, event_type .. ' ' .. records .. ' ' .. #chunk .. ' ' .. gate)
  redis.call('RPUSH', run_key .. ':stream:' .. n, chunk)
  redis.call('HINCRBY', run_key, 'chunks', 1)
  flow_add(base, run_key, n, webhook, #chunk, records)
end

-- Where the streams of a run, or of the outbox of a webhook, are.
local function source_key(base, source)
  return base .. (source:sub(1, 3) == 'wh_' and ':outbox:' or ':run:') .. source
end

local function delivery_task(run, n)
  return run .. '.deliver.' .. n, 'deliver.1 ' .. n
end

-- What decides whether and when a stream is sent.
local function stream_state(run_key, n)
  local s = 's' .. n .. ':'
  local fields = redis.call('HMGET', run_key, s .. 'task', s .. 'batch', 'webhook', 'delivery_limit', 'started_settled',
    'n' .. n .. ':gate', s .. 'seq', s .. 'settled', 'batch_records', 'batch_bytes', 'linger_ms', 'n' .. n .. ':done',
    s .. 'bytes', 'n' .. n .. ':batch_errors', s .. 'most_bytes',
    'environment')
  return {
    task = fields[1], batch = fields[2], webhook = fields[3], limit = fields[4], started = fields[5],
    gate = fields[6] ~= '' and fields[6] or nil, seq = tonumber(fields[7]) or 0, settled = tonumber(fields[8]) or 0,
    batch_records = tonumber(fields[9]), batch_bytes = tonumber(fields[10]), linger_ms = tonumber(fields[11]),
    done = fields[12], bytes = tonumber(fields[13]) or 0, batch_errors = fields[14],
    most_bytes = tonumber(fields[15]), environment = fields[16],
  }
end

-- Whether several chunks of the event type make one event.
local function stream_gathers(state, event_type)
  return event_type == RECORD or (state.batch_errors and event_type == RECORD_ERROR)
end

-- Whether waiting for more records would not make the next batch fuller.
local function batch_is_full(state)
  return state.done or state.seq - state.settled >= state.batch_records or state.bytes >= math.min(state.batch_bytes, state.most_bytes or math.huge)
end

-- The sequence number up to which the stream that gates `state`'s is settled; nil: no gate.
local function gate_reached(run_key, state)
  if not state.gate then
    return nil
  end
  return tonumber(redis.call('HGET', run_key, 's' .. state.gate .. ':settled')) or 0
end

-- Makes, or hastens, the delivery task of a stream that has something to send.
local function stream_schedule(base, run, run_key, n, now)
  local state = stream_state(run_key, n)
  local id, body = delivery_task(run, n)
  if state.task then
    -- A frozen batch is being sent or waits for its retry; without one the task lingers or is about to be claimed.
    if not state.batch and batch_is_full(state) and redis.call('ZREM', base .. ':deliveries:delayed', id) == 1 then
      redis.call('DEL', base .. ':deliveries:task:' .. id)
      lane_push(base, 'deliveries', state.webhook, state.environment, state.limit, { entry_of(id, 0, 0, now, body) })
    end
    return
  end
  local first = redis.call('LINDEX', run_key .. ':index:' .. n, 0)
  if not first then
    return
  end
  local event_type, gate = first:match('^(%S+) %d+ %d+ (%d+)$')
  if n ~= 'c' then
    if not state.started then
      return
    end
    local reached = gate_reached(run_key, state)
    if reached and tonumber(gate) > reached then
      return
    end
  end
  redis.call('HSET', run_key, 's' .. n .. ':task', 1)
  if not stream_gathers(state, event_type) or batch_is_full(state) or state.linger_ms == 0 then
    lane_push(base, 'deliveries', state.webhook, state.environment, state.limit, { entry_of(id, 0, 0, now, body) })
  else
    delay_new(base, 'deliveries', id, state.webhook, state.environment, state.limit, 0, 0, body, now + state.linger_ms)
  end
end

-- The whole state of a run as a chunk, so that the bytes of an event stay what they are now, whatever becomes of the run.
local function snapshot(run_key)
  local fields, all = {}, redis.call('HGETALL', run_key)
  for i = 1, #all, 2 do
    fields[all[i]] = all[i + 1]
  end
  return cjson.encode(fields)
end

-- Tells the webhook the run as it stands.
local function tell_run(base, run, run_key, event_type, now)
  local state = redis.call('HMGET', run_key, 'events', 'webhook')
  if not subscribed(state[1], event_type) then
    return
  end
  stream_push(base, run, run_key, state[2], 'c', event_type, 0, 0, snapshot(run_key))
  stream_schedule(base, run, run_key, 'c', now)
end
