-- A fetch that failed and will be tried again: delayed, with one more attempt counted.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, 4 node, 5 delay ms, 6 requests made
-- Returns `ok`, `stale` or `run_ended` (the task is gone).
local base, id, run_key = KEYS[1], ARGV[1], KEYS[1] .. ':run:' .. ARGV[3]
local task = held(base, 'fetches', id, ARGV[2])
if not task then
  return 'stale'
end
if not run_active(redis.call('HGET', run_key, 'status')) then
  task_done(base, 'fetches', id, task)
  return 'run_ended'
end
redis.call('HINCRBY', run_key, 'n' .. ARGV[4] .. ':requests', ARGV[6])
-- The worker outlived this attempt: leases lost before it say nothing about the request.
task.rescues = 0
task_delay(base, 'fetches', id, task, now_ms(base) + tonumber(ARGV[5]), task.attempt + 1, task.body)
return 'ok'
