-- Delays a claimed task.
-- KEYS 1 base
-- ARGV 1 queue, 2 task, 3 token, 4 delay ms, 5 what it counts as: `attempt`, `crash` (as a lost lease does) or `nothing`
-- Returns `ok` or `stale`.
local base, queue = KEYS[1], ARGV[1]
local task = held(base, queue, ARGV[2], ARGV[3])
if not task then
  return 'stale'
end
local attempt = task.attempt
if ARGV[5] == 'attempt' then
  attempt = attempt + 1
elseif ARGV[5] == 'crash' then
  task.rescues = task.rescues + 1
end
task_delay(base, queue, ARGV[2], task, now_ms(base) + tonumber(ARGV[4]), attempt, task.body)
return 'ok'
