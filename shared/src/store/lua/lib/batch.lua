-- Forming and settling the batches of a stream. Needs: queue, health, flow, stream, run.
-- A batch is whole chunks of a stream: one event other than `record`, or records up to the run's `batch_records` and
-- `batch_bytes` (always at least one chunk), or, under `batch`, errors up to as many and as large. Once formed it is frozen:
-- its extent, event id and time are kept until it is settled, its bytes follow from them and from the chunks, which
-- nothing else touches.
-- `s<n>:batch` holds the frozen batches from the head of the stream on, a line each, one unless the webhook's `window` is
-- larger: `<event> <created ms> <chunks> <event type> <first seq> <records> <bytes> <attempts> <first failure ms, or 0>`, and
-- ` settled` after one that waits for an earlier one. Only what is settled from the head on is taken off the stream.
-- A receiver that finds an event too large lowers `s<n>:most_bytes`, the bytes of the stream's batches from then on. It may
-- have been one record that was: each GROWS_AFTER events that it takes (`s<n>:taken`) double it again.
local MOST_CHUNKS = 500

local BATCH = '^(%S+) (%d+) (%d+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+)( ?s?%a*)$'

-- The frozen batches of a stream, in its order.
local function read_batches(run_key, n)
  local batches = {}
  for line in (redis.call('HGET', run_key, 's' .. n .. ':batch') or ''):gmatch('[^\n]+') do
    local event, created, chunks, event_type, first, records, bytes, attempts, failed_at, settled = line:match(BATCH)
    batches[#batches + 1] = {
      event = event, created = created, chunks = tonumber(chunks), event_type = event_type, first = tonumber(first),
      records = tonumber(records), bytes = tonumber(bytes), attempts = tonumber(attempts),
      failed_at = tonumber(failed_at), settled = settled ~= '',
    }
  end
  return batches
end

local function keep_batches(run_key, n, batches)
  local lines = {}
  for i, b in ipairs(batches) do
    lines[i] = table.concat({ b.event, b.created, b.chunks, b.event_type, b.first, b.records, b.bytes, b.attempts,
      b.failed_at }, ' ') .. (b.settled and ' settled' or '')
  end
  if #lines == 0 then
    redis.call('HDEL', run_key, 's' .. n .. ':batch')
  else
    redis.call('HSET', run_key, 's' .. n .. ':batch', table.concat(lines, '\n'))
  end
end

-- The batch of an event that isn't settled, or nil.
local function open_batch(batches, event)
  for _, b in ipairs(batches) do
    if b.event == event and not b.settled then
      return b
    end
  end
end

-- Chunks, records and bytes of the frozen batches before `last`, or of all.
local function extent(batches, last)
  local chunks, records, bytes = 0, 0, 0
  for _, b in ipairs(batches) do
    if b == last then
      break
    end
    chunks, records, bytes = chunks + b.chunks, records + b.records, bytes + b.bytes
  end
  return chunks, records, bytes
end

local GROWS_AFTER = 16

-- The receiver has taken an event of the stream.
local function batch_fits(run_key, n)
  local s = 's' .. n .. ':'
  local bounds = redis.call('HMGET', run_key, s .. 'most_bytes', 'batch_bytes')
  if not bounds[1] or redis.call('HINCRBY', run_key, s .. 'taken', 1) < GROWS_AFTER then
    return
  end
  redis.call('HDEL', run_key, s .. 'taken')
  if bounds[1] * 2 < (tonumber(bounds[2]) or 0) then
    redis.call('HSET', run_key, s .. 'most_bytes', bounds[1] * 2)
  else
    redis.call('HDEL', run_key, s .. 'most_bytes')
  end
end

-- Forms and freezes the next batch after `batches`, or nil when nothing may go. With `patient`, a batch that could still
-- grow isn't formed; the second result then says so.
local function form_batch(run_key, n, batches, event, now, patient)
  local state = stream_state(run_key, n)
  local reached = gate_reached(run_key, state)
  local from, records_ahead, bytes_ahead = extent(batches)
  state.settled, state.bytes = state.settled + records_ahead, state.bytes - bytes_ahead
  local b = {
    event = event, created = now, chunks = 0, first = state.settled + 1, records = 0, bytes = 0, attempts = 0, failed_at = 0,
  }
  -- A chunk that others join has at least one record, or is an error of its own.
  local most = math.min(MOST_CHUNKS, state.batch_records or MOST_CHUNKS)
  for i, text in ipairs(redis.call('LRANGE', run_key .. ':index:' .. n, from, from + most - 1)) do
    local event_type, records, bytes, gate = text:match('^(%S+) (%d+) (%d+) (%d+)$')
    records, bytes = tonumber(records), tonumber(bytes)
    if reached and tonumber(gate) > reached then
      break
    end
    if i == 1 then
      b.event_type = event_type
    elseif event_type ~= b.event_type or not stream_gathers(state, event_type)
      or math.max(b.records + records, event_type == RECORD and 0 or i) > state.batch_records
      or b.bytes + bytes > math.min(state.batch_bytes, state.most_bytes or math.huge) then
      break
    end
    b.chunks, b.records, b.bytes = i, b.records + records, b.bytes + bytes
  end
  if b.chunks == 0 then
    return nil, false
  end
  if patient and stream_gathers(state, b.event_type) and state.linger_ms > 0 and not batch_is_full(state) then
    return nil, true
  end
  batches[#batches + 1] = b
  keep_batches(run_key, n, batches)
  return b, false
end

-- The next batch to send beside those that the task has in flight (`held`: their events, each followed by a comma): one that
-- is frozen, or a new one if the window has room. Results as form_batch.
local function next_batch(run_key, n, batches, held, window, event, now, patient)
  for _, b in ipairs(batches) do
    if not b.settled and not held:find(b.event .. ',', 1, true) then
      return b, false
    end
  end
  -- What the run itself tells stays in order.
  if #batches >= (n == 'c' and 1 or window) then
    return nil, false
  end
  return form_batch(run_key, n, batches, event, now, patient)
end

-- The batch as a script's answer: {`batch`, event, created ms, event type, first seq, records, attempts, ms since its first
-- failure (or since the webhook was released, if that is later), most bytes (0: no bound but the run's), chunk, …}.
local function batch_reply(base, run_key, webhook, n, batches, b, now)
  local failing = 0
  if b.failed_at > 0 then
    local released = tonumber(redis.call('GET', base .. ':released:' .. webhook)) or 0
    failing = math.max(0, now - math.max(b.failed_at, released))
  end
  local reply = { 'batch', b.event, b.created, b.event_type, b.first, b.records, b.attempts, failing,
    tonumber(redis.call('HGET', run_key, 's' .. n .. ':most_bytes')) or 0 }
  local from = extent(batches, b)
  for _, chunk in ipairs(redis.call('LRANGE', run_key .. ':stream:' .. n, from, from + b.chunks - 1)) do
    reply[#reply + 1] = chunk
  end
  return reply
end
