-- Gives a claimed task back unchanged, to the front of its lane.
-- KEYS 1 base
-- ARGV 1 queue, 2 task, 3 token
-- Returns `ok` or `stale`.
local base, queue = KEYS[1], ARGV[1]
local task = held(base, queue, ARGV[2], ARGV[3])
if not task then
  return 'stale'
end
task_return(base, queue, ARGV[2], task, task.attempt, task.rescues, task.body, now_ms(base), false)
return 'ok'
