-- Fails a run that can't be started, and ends its StartRun task.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, 4 code, 5 message
-- Returns `ok`, `stale` or `run_ended` (stopped before; the task is gone).
local base, id, run = KEYS[1], ARGV[1], ARGV[3]
local task = held(base, 'runs', id, ARGV[2])
if not task then
  return 'stale'
end
local run_key = base .. ':run:' .. run
task_done(base, 'runs', id, task)
if redis.call('HGET', run_key, 'status') ~= 'created' then
  return 'run_ended'
end
run_end(base, run, run_key, 'failed', ARGV[4], ARGV[5], '', now_ms(base))
return 'ok'
