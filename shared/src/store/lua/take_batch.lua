-- Takes the next batch of a stream for a claimed delivery task: a frozen one, or a new one frozen here.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, or webhook of an outbox, 4 stream, 5 event id for a new batch, 6 requests a second (0: any
--      number), 7 most batches of the stream in flight, 8 events that the task has in flight, each followed by a comma
-- Returns {`batch`, …} as batch_reply says, {`held`} (nothing more may go now, the task has others in flight), {`none`} (nothing
-- may go: the task is gone, or waits for the webhook's pace or pause) or {`stale`}.
local base, id, run, n, held_events = KEYS[1], ARGV[1], ARGV[3], ARGV[4], ARGV[8]
local task = held(base, 'deliveries', id, ARGV[2])
if not task then
  return { 'stale' }
end
if held_events ~= '' and redis.call('HEXISTS', base .. ':deliveries:lane:' .. task.lane, 'circuit') == 1 then
  -- A probe is one delivery.
  return { 'held' }
end
local run_key, now = source_key(base, run), now_ms(base)
if rests(base, task.lane, now) then
  if held_events == '' then
    task_return(base, 'deliveries', id, task, task.attempt, task.rescues, task.body, now, true)
    return { 'none' }
  end
  return { 'held' }
end
local batches = read_batches(run_key, n)
local batch = next_batch(run_key, n, batches, held_events, tonumber(ARGV[7]), ARGV[5], now, held_events ~= '')
if batch and paced(base, task.lane, id, task, tonumber(ARGV[6]), held_events ~= '', now) then
  return batch_reply(base, run_key, task.lane, n, batches, batch, now)
end
if held_events ~= '' then
  return { 'held' }
end
if not batch then
  redis.call('HDEL', run_key, 's' .. n .. ':task')
  task_done(base, 'deliveries', id, task)
end
return { 'none' }
