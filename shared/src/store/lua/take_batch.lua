-- Takes the next batch of a stream for a claimed delivery task: the frozen one, or a new one frozen here.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, or webhook of an outbox, 4 stream, 5 event id for a new batch, 6 requests a second (0: any number)
-- Returns {`batch`, …} as batch_reply says, {`none`} (nothing may go: the task is gone, or waits for the webhook's pace)
-- or {`stale`}.
local base, id, run, n = KEYS[1], ARGV[1], ARGV[3], ARGV[4]
local task = held(base, 'deliveries', id, ARGV[2])
if not task then
  return { 'stale' }
end
local run_key, now = source_key(base, run), now_ms(base)
local frozen = redis.call('HGET', run_key, 's' .. n .. ':batch')
local batch = frozen and parse_batch(frozen) or form_batch(run_key, n, ARGV[5], now, false)
if batch then
  if paced(base, task.lane, id, task, tonumber(ARGV[6]), now) then
    return batch_reply(run_key, n, batch, now)
  end
  return { 'none' }
end
redis.call('HDEL', run_key, 's' .. n .. ':task')
task_done(base, 'deliveries', id, task)
return { 'none' }
