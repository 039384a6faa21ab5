-- Ends a claimed task that changes nothing else.
-- KEYS 1 base
-- ARGV 1 queue, 2 task, 3 token
-- Returns `ok` or `stale`.
local base, queue = KEYS[1], ARGV[1]
local task = held(base, queue, ARGV[2], ARGV[3])
if not task then
  return 'stale'
end
task_done(base, queue, ARGV[2], task)
return 'ok'
