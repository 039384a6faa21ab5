-- Delays a claimed task, with one more attempt counted.
-- KEYS 1 base
-- ARGV 1 queue, 2 task, 3 token, 4 delay ms
-- Returns `ok` or `stale`.
local base, queue = KEYS[1], ARGV[1]
local task = held(base, queue, ARGV[2], ARGV[3])
if not task then
  return 'stale'
end
task_delay(base, queue, ARGV[2], task, now_ms(base) + tonumber(ARGV[4]), task.attempt + 1, task.body)
return 'ok'
