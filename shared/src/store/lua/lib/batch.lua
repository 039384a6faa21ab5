-- Forming and settling the batches of a stream. Needs: queue, health, flow, stream, run.
-- A batch is whole chunks from the head of a stream: one event other than `record`, or records up to the run's
-- `batch_records` and `batch_bytes` (always at least one chunk), or, under `batch`, errors up to as many and as large. Once formed it is frozen: its extent, event id and time are kept in
-- `s<n>:batch` until it is settled, its bytes follow from them and from the chunks, which nothing else touches.
-- A receiver that finds an event too large lowers `s<n>:most_bytes`, the bytes of the stream's batches from then on.
-- `s<n>:batch`: `<event> <created ms> <chunks> <event type> <first seq> <records> <bytes> <attempts> <first failure ms, or 0>`.
local MOST_CHUNKS = 500

local function parse_batch(text)
  local event, created, chunks, event_type, first, records, bytes, attempts, failed_at =
    text:match('^(%S+) (%d+) (%d+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  return {
    event = event, created = created, chunks = tonumber(chunks), event_type = event_type, first = tonumber(first),
    records = tonumber(records), bytes = tonumber(bytes), attempts = tonumber(attempts),
    failed_at = tonumber(failed_at),
  }
end

local function keep_batch(run_key, n, b)
  redis.call('HSET', run_key, 's' .. n .. ':batch', table.concat(
    { b.event, b.created, b.chunks, b.event_type, b.first, b.records, b.bytes, b.attempts, b.failed_at }, ' '))
end

-- Forms and freezes the next batch, or nil when nothing may go. With `patient`, a batch that could still grow isn't
-- formed; the second result then says so.
local function form_batch(run_key, n, event, now, patient)
  local state = stream_state(run_key, n)
  local reached = gate_reached(run_key, state)
  local b = {
    event = event, created = now, chunks = 0, first = state.settled + 1, records = 0, bytes = 0, attempts = 0, failed_at = 0,
  }
  for i, text in ipairs(redis.call('LRANGE', run_key .. ':index:' .. n, 0, MOST_CHUNKS - 1)) do
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
  keep_batch(run_key, n, b)
  return b, false
end

-- The batch as a script's answer: {`batch`, event, created ms, event type, first seq, records, attempts, ms since its first
-- failure, most bytes (0: no bound but the run's), chunk, …}.
local function batch_reply(run_key, n, b, now)
  local failing = b.failed_at > 0 and math.max(0, now - b.failed_at) or 0
  local reply = { 'batch', b.event, b.created, b.event_type, b.first, b.records, b.attempts, failing,
    tonumber(redis.call('HGET', run_key, 's' .. n .. ':most_bytes')) or 0 }
  for _, chunk in ipairs(redis.call('LRANGE', run_key .. ':stream:' .. n, 0, b.chunks - 1)) do
    reply[#reply + 1] = chunk
  end
  return reply
end
