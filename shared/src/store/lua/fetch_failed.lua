-- A fetch that is given up: counted, listed, told to the webhook in order, and the run goes on or fails.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, 4 node, 5 requests made, 6 error (JSON), 7 `ignore` | `batch` | `fail_fast`, 8 code, 9 message,
--      10 resource, 11 most errors listed, 12 `1` if a retry of the run makes the fetch again, `0` where no request can help,
--      13 `1`: the source has answered, though not what was asked for
-- Returns `ok`, `stale` or `run_ended` (the task is gone).
local base, id, run, node = KEYS[1], ARGV[1], ARGV[3], ARGV[4]
local task = held(base, 'fetches', id, ARGV[2])
if not task then
  return 'stale'
end
local run_key, now = base .. ':run:' .. run, now_ms(base)
local n = 'n' .. node .. ':'
local state = redis.call('HMGET', run_key, 'status', 'webhook', 'events')
if not run_active(state[1]) then
  task_done(base, 'fetches', id, task)
  return 'run_ended'
end
run_resume(run_key, state[1], now)
redis.call('HINCRBY', run_key, n .. 'requests', ARGV[5])
if ARGV[13] == '1' then
  source_answered(base, task.lane)
end
redis.call('HINCRBY', run_key, n .. 'errors', 1)
redis.call('HSETNX', run_key, n .. 'first_error', ARGV[9])
if redis.call('RPUSH', run_key .. ':error', ARGV[6]) > tonumber(ARGV[11]) then
  redis.call('RPOP', run_key .. ':error')
end
if ARGV[12] == '1' then
  remember_failed(run_key, task.body)
end
note_error(base, run_key, ARGV[8], ARGV[9], ARGV[10])
if subscribed(state[3], RECORD_ERROR) then
  local gate = task.body:match('^%S+ %S+ (%d+)')
  stream_push(base, run, run_key, state[2], node, RECORD_ERROR, 0, gate, ARGV[6])
end
task_done(base, 'fetches', id, task)
node_task_done(base, run, run_key, node, now)
stream_schedule(base, run, run_key, node, now)
if ARGV[7] == 'fail_fast' then
  run_end(base, run, run_key, 'failed', ARGV[8], ARGV[9], ARGV[10], now)
else
  run_settle(base, run, run_key, now)
end
return 'ok'
