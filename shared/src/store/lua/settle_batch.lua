-- Settles the batch in flight, delivered or dead-lettered, lets go what waited for it, and takes the next one.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, or webhook of an outbox, 4 stream, 5 event, 6 `delivered` | `dead`, 7 HTTP status (0: none), 8 reason (dead),
--      9 bytes sent (dead; kept for sending again), 10 event id for the next batch, 11 `1`: take the next batch, 12 most events listed,
--      13 code with which a dead letter ends the run whatever its policy, or empty, 14 attempts made now: 0 or 1,
--      15 cause (dead): `refused` | `broken`
-- Returns {`batch`, …} as take_batch, {`none`} (the task is gone or lingers), or {`stale`} (lease lost, or settled before).
-- Invariants: each batch is settled once; `settled` of a stream never passes its `seq`.
local base, id, run, n = KEYS[1], ARGV[1], ARGV[3], ARGV[4]
local task = held(base, 'deliveries', id, ARGV[2])
local run_key, now = source_key(base, run), now_ms(base)
local frozen = task and redis.call('HGET', run_key, 's' .. n .. ':batch')
local batch = frozen and parse_batch(frozen)
if not batch or batch.event ~= ARGV[5] then
  return { 'stale' }
end
local state = redis.call('HMGET', run_key, 'webhook', 'status', 'error_handling', 'nodes', 'terminal')
local webhook, outcome, sent = state[1], ARGV[6], tonumber(ARGV[14])

redis.call('HDEL', run_key, 's' .. n .. ':batch')
redis.call('LTRIM', run_key .. ':index:' .. n, batch.chunks, -1)
redis.call('LTRIM', run_key .. ':stream:' .. n, batch.chunks, -1)
redis.call('HINCRBY', run_key, 'chunks', -batch.chunks)
redis.call('HINCRBY', run_key, 's' .. n .. ':settled', batch.records)
flow_remove(base, run_key, n, webhook, batch.bytes)
local outbox = state[2] == 'outbox'
if not outbox then
  local line = table.concat({ batch.event, batch.event_type, n, batch.first, batch.records, batch.attempts + sent, outcome, ARGV[7],
    batch.created, now }, ' ')
  if redis.call('RPUSH', run_key .. ':event', line) > tonumber(ARGV[12]) then
    redis.call('LPOP', run_key .. ':event')
    redis.call('HINCRBY', run_key, 'events_dropped', 1)
  end
end
if n ~= 'c' and batch.records > 0 then
  redis.call('HINCRBY', run_key, 'n' .. n .. ':' .. outcome, batch.records)
end
if outcome == 'dead' then
  local names = n ~= 'c' and redis.call('HMGET', run_key, 'n' .. n .. ':resource', 'n' .. n .. ':name') or {}
  keep_dead_letter(base, webhook, batch.event, tonumber(redis.call('HGET', run_key, 'retention_ms')), {
    'run', outbox and '' or run, 'stream', n, 'resource', names[1] or '', 'name', names[2] or '',
    'event_type', batch.event_type, 'first_seq', batch.first, 'records', batch.records, 'cause', ARGV[15],
    'reason', ARGV[8], 'status', ARGV[7], 'attempts', batch.attempts + sent, 'created_at', batch.created, 'dead_at', now,
    'body', ARGV[9],
  })
  redis.call('HINCRBY', run_key, 'dead_events', 1)
  if run_active(state[2]) and (state[3] == 'fail_fast' or ARGV[13] ~= '') then
    local code = ARGV[13] ~= '' and ARGV[13] or 'delivery_failed'
    run_end(base, run, run_key, 'failed', code, ARGV[8], '', now)
  end
end

if outbox then
  if redis.call('HGET', run_key, 'chunks') == '0' then
    redis.call('DEL', run_key)
    task_done(base, 'deliveries', id, task)
    return { 'none' }
  end
elseif batch.event_type == 'sync_job_run:started' then
  redis.call('HSET', run_key, 'started_settled', 1)
  for i = 0, (tonumber(state[4]) or 0) - 1 do
    stream_schedule(base, run, run_key, tostring(i), now)
  end
elseif n ~= 'c' then
  local gated = redis.call('HGET', run_key, 'n' .. n .. ':gated') or ''
  for child in gated:gmatch('%d+') do
    stream_schedule(base, run, run_key, child, now)
  end
end
if state[5] and n == 'c' and redis.call('HGET', run_key, 'chunks') == '0' then
  redis.call('HDEL', run_key, 's' .. n .. ':task')
  task_done(base, 'deliveries', id, task)
  run_retire(base, run, run_key)
  return { 'none' }
end
run_settle(base, run, run_key, now)

local next_batch, lingers = form_batch(run_key, n, ARGV[10], now, true)
if lingers then
  local linger_ms = tonumber(redis.call('HGET', run_key, 'linger_ms'))
  task.rescues = 0
  task_delay(base, 'deliveries', id, task, now + linger_ms, 0, task.body)
elseif not next_batch then
  redis.call('HDEL', run_key, 's' .. n .. ':task')
  task_done(base, 'deliveries', id, task)
elseif ARGV[11] ~= '1' then
  task_return(base, 'deliveries', id, task, 0, 0, task.body, now, true)
else
  redis.call('HSET', task.key, 'rescues', 0)
  return batch_reply(run_key, n, next_batch, now)
end
return { 'none' }
