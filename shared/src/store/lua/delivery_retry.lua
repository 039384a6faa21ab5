-- A batch that was not accepted and will be sent again. After a failure the task waits by itself, or, while the circuit is
-- open, with its lane; when the receiver asked for a pause, the lane is blocked as long; for a reason of ours the task waits.
-- The task has nothing else in flight.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, or webhook of an outbox, 4 stream, 5 event, 6 `failed` | `asked` | `own`, 7 delay ms (failed, own) or
--      pause ms (asked), 8 shortest wait of the retry plan (failed), or ms that the request took (asked), 9 longest wait of the
--      plan, ms, 10 random, 0 to 1
-- Returns {`ok`, failures in a row, ms since the first of them, 1 if the circuit is open, 2 if it opened now, else 0} or {`stale`}.
local base, id, n = KEYS[1], ARGV[1], ARGV[4]
local task = held(base, 'deliveries', id, ARGV[2])
local run_key, now, delay = source_key(base, ARGV[3]), now_ms(base), tonumber(ARGV[7])
local batches = task and read_batches(run_key, n)
local batch = task and open_batch(batches, ARGV[5])
if not batch then
  return { 'stale' }
end
-- The worker outlived this attempt: leases lost before it say nothing about the batch.
task.rescues = 0
if ARGV[6] == 'own' then
  task_delay(base, 'deliveries', id, task, now + delay, batch.attempts, task.body)
  return { 'ok', 0, 0, 0 }
end
local failed = ARGV[6] == 'failed'
local failures, failing = health_failed(base, task.lane, failed, now)
local open, opened, alone = false, false, true
if failed then
  open, opened = circuit_open(base, task.lane, failures, tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), now)
  batch.attempts = batch.attempts + 1
else
  alone = leave_alone(base, task.lane, delay, tonumber(ARGV[8]), now)
end
if (batch.failed_at == 0 or batch.failed_at > now) and (failed or alone) then
  -- What it never takes but asks for a pause each time is given up too: its time begins when the first one is over.
  batch.failed_at = failed and now or now + delay
end
keep_batches(run_key, n, batches)
if failed and not open then
  task_delay(base, 'deliveries', id, task, now + delay, batch.attempts, task.body)
elseif not alone then
  task_delay(base, 'deliveries', id, task, now + COPY_KEPT, batch.attempts, task.body)
else
  -- At the end, so that a batch that only fails itself lets the others probe.
  task_return(base, 'deliveries', id, task, batch.attempts, 0, task.body, now, true)
end
return { 'ok', failures, failing, opened and 2 or open and 1 or 0 }
