-- Settles the batch in flight, delivered or dead-lettered, lets go what waited for it, and takes the next one.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, or webhook of an outbox, 4 stream, 5 event, 6 `delivered` | `dead`, 7 HTTP status (0: none), 8 reason (dead),
--      9 bytes sent (dead; kept for sending again), 10 event id for the next batch, 11 `1`: take the next batch, 12 most events listed,
--      13 code with which the run ends, whatever its policy, or empty: failed if dead, stopped if delivered (the receiver
--      wants no more of it), 14 attempts made now: 0 or 1, 15 cause (dead): `refused` | `broken`, 16 requests a second (0: any
--      number), 17 most batches of the stream in flight, 18 events that the task has in flight beside this one, each followed
--      by a comma, 19 `1`: the attempt says that the receiver fails (dead), 20 shortest and 21 longest wait of the retry plan, ms,
--      22 random, 0 to 1, then for each record that the receiver refused in its answer (delivered): event id and bytes of an event
--      with that record alone, seq, reason
-- Returns {`batch`, …} as batch_reply says, {`held`} (nothing more may go now, the task has others in flight), {`none`} (the task
-- is gone, lingers, or waits for the webhook's pace), or {`stale`} (lease lost, or settled before).
-- Invariants: each batch is settled once; `settled` of a stream never passes its `seq`, nor a batch that isn't settled.
local base, id, run, n = KEYS[1], ARGV[1], ARGV[3], ARGV[4]
local task = held(base, 'deliveries', id, ARGV[2])
local run_key, now = source_key(base, run), now_ms(base)
local batches = task and read_batches(run_key, n)
local batch = task and open_batch(batches, ARGV[5])
if not batch then
  return { 'stale' }
end
local state = redis.call('HMGET', run_key, 'webhook', 'status', 'error_handling', 'nodes', 'terminal')
local webhook, outcome, sent, refused = state[1], ARGV[6], tonumber(ARGV[14]), (#ARGV - 22) / 4
local in_flight, open = ARGV[18], false

batch.settled = true
while batches[1] and batches[1].settled do
  local done = table.remove(batches, 1)
  redis.call('LTRIM', run_key .. ':index:' .. n, done.chunks, -1)
  redis.call('LTRIM', run_key .. ':stream:' .. n, done.chunks, -1)
  redis.call('HINCRBY', run_key, 'chunks', -done.chunks)
  redis.call('HINCRBY', run_key, 's' .. n .. ':settled', done.records)
  flow_remove(base, run_key, n, webhook, done.bytes, done.records)
end
keep_batches(run_key, n, batches)
local outbox = state[2] == 'outbox'
-- An event, or a record that was refused of one, in the list of what was sent.
local function list_event(event, first, records, what)
  local line = table.concat({ event, batch.event_type, n, first, records, batch.attempts + sent, what, ARGV[7],
    batch.created, now }, ' ')
  if redis.call('RPUSH', run_key .. ':event', line) > tonumber(ARGV[12]) then
    redis.call('LPOP', run_key .. ':event')
    redis.call('HINCRBY', run_key, 'events_dropped', 1)
  end
end
if not outbox then
  list_event(batch.event, batch.first, batch.records, outcome)
end
if n ~= 'c' and batch.records > 0 then
  redis.call('HINCRBY', run_key, 'n' .. n .. ':' .. outcome, batch.records - refused)
end
local function letter(event, first, records, cause, reason, body)
  local names = n ~= 'c' and redis.call('HMGET', run_key, 'n' .. n .. ':resource', 'n' .. n .. ':name') or {}
  -- An event that belongs to no run may tell of an account too.
  local account = redis.call('HGET', run_key, 'account') or body:match('"integrated_account_id":"(acc_%w+)"') or nil
  keep_dead_letter(base, webhook, event, tonumber(redis.call('HGET', run_key, 'retention_ms')), account, {
    'run', outbox and '' or run, 'stream', n, 'resource', names[1] or '', 'name', names[2] or '',
    'event_type', batch.event_type, 'first_seq', first, 'records', records, 'cause', cause, 'reason', reason,
    'status', ARGV[7], 'attempts', batch.attempts + sent, 'created_at', batch.created, 'dead_at', now, 'body', body,
  })
  redis.call('HINCRBY', run_key, 'dead_events', 1)
end
local ends, code, why = nil, ARGV[13], ARGV[8]
if outcome == 'dead' then
  letter(batch.event, batch.first, batch.records, ARGV[15], why, ARGV[9])
  ends = 'failed'
  if ARGV[19] == '1' then
    local failures = health_failed(base, webhook, true, now)
    open = circuit_open(base, webhook, failures, tonumber(ARGV[20]), tonumber(ARGV[21]), tonumber(ARGV[22]), now)
  elseif code == 'webhook_deleted' then
    -- Late answers may have left a circuit open; nobody will close it.
    release_webhook(base, webhook, now)
  end
else
  health_ok(base, webhook)
  batch_fits(run_key, n)
  for at = 23, #ARGV, 4 do
    letter(ARGV[at], ARGV[at + 2], 1, 'refused', ARGV[at + 3], ARGV[at + 1])
    list_event(ARGV[at], ARGV[at + 2], 1, 'dead')
  end
  if refused > 0 then
    redis.call('HINCRBY', run_key, 'n' .. n .. ':dead', refused)
    ends, why = 'failed', ARGV[26]
  elseif code ~= '' then
    ends = 'stopped'
  end
end
if ends and run_active(state[2]) and (code ~= '' or state[3] == 'fail_fast') then
  run_end(base, run, run_key, ends, code ~= '' and code or 'delivery_failed', why, '', now)
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

task.rescues = 0
local go_on, several = ARGV[11] == '1' and not open and not rests(base, webhook, now), in_flight ~= ''
if several and not go_on then
  return { 'held' }
end
local following, lingers = next_batch(run_key, n, batches, in_flight, tonumber(ARGV[17]), ARGV[10], now, true)
if following and go_on and paced(base, webhook, id, task, tonumber(ARGV[16]), several, now) then
  redis.call('HSET', task.key, 'rescues', 0)
  return batch_reply(base, run_key, webhook, n, batches, following, now)
elseif several then
  return { 'held' }
elseif lingers then
  local linger_ms = tonumber(redis.call('HGET', run_key, 'linger_ms'))
  task_delay(base, 'deliveries', id, task, now + linger_ms, 0, task.body)
elseif not following then
  redis.call('HDEL', run_key, 's' .. n .. ':task')
  task_done(base, 'deliveries', id, task)
elseif not go_on then
  task_return(base, 'deliveries', id, task, 0, 0, task.body, now, true)
end
return { 'none' }
