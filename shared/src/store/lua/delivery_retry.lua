-- A batch that was not accepted and will be sent again: the task is delayed; the webhook's lane is blocked if it asked so.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, or webhook of an outbox, 4 stream, 5 event, 6 delay ms, 7 block the lane for ms (0: no), 8 `1`: counts as an attempt
-- Returns `ok` or `stale`.
local base, id, n = KEYS[1], ARGV[1], ARGV[4]
local task = held(base, 'deliveries', id, ARGV[2])
local run_key, now = source_key(base, ARGV[3]), now_ms(base)
local frozen = task and redis.call('HGET', run_key, 's' .. n .. ':batch')
local batch = frozen and parse_batch(frozen)
if not batch or batch.event ~= ARGV[5] then
  return 'stale'
end
if ARGV[8] == '1' then
  batch.attempts = batch.attempts + 1
  if batch.failed_at == 0 then
    batch.failed_at = now
  end
  keep_batch(run_key, n, batch)
end
if tonumber(ARGV[7]) > 0 then
  lane_block(base, 'deliveries', task.lane, now + tonumber(ARGV[7]))
end
-- The worker outlived this attempt: leases lost before it say nothing about the batch.
task.rescues = 0
task_delay(base, 'deliveries', id, task, now + tonumber(ARGV[6]), batch.attempts, task.body)
return 'ok'
