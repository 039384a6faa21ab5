-- A fetch that failed and is tried again: delayed, with one more attempt counted, unless its source is left alone. One that has
-- used its attempts up is left to the caller.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, 4 node, 5 delay ms, 6 requests made, 7 `1`: the source failed, `0`: we did, 8 most attempts
-- Returns `ok`, `used_up` (nothing was changed), `stale` or `run_ended` (the task is gone), and the ms of the pause of the source that this failure began, or 0.
local base, id, run_key = KEYS[1], ARGV[1], KEYS[1] .. ':run:' .. ARGV[3]
local task = held(base, 'fetches', id, ARGV[2])
if not task then
  return { 'stale', 0 }
end
if not run_active(redis.call('HGET', run_key, 'status')) then
  task_done(base, 'fetches', id, task)
  return { 'run_ended', 0 }
end
local now, counts, pause = now_ms(base), true, 0
if ARGV[7] == '1' then
  counts, pause = source_failed(base, task.lane, now)
end
if counts and task.attempt + 1 >= tonumber(ARGV[8]) then
  return { 'used_up', 0 }
end
redis.call('HINCRBY', run_key, 'n' .. ARGV[4] .. ':requests', ARGV[6])
-- The worker outlived this attempt: leases lost before it say nothing about the request.
task.rescues = 0
if pause > 0 then
  note(base, run_key, 'source_fails', { retry_at = now + pause })
end
task_delay(base, 'fetches', id, task, now + tonumber(ARGV[5]), task.attempt + (counts and 1 or 0), task.body)
return { 'ok', pause }
