-- Replaces the body of a claimed task, which is how far it is.
-- KEYS 1 base
-- ARGV 1 queue, 2 task, 3 token, 4 body, 5 `keep` (the lease goes on), `turn` (behind the others of its lane) or ms that it waits
-- Returns `ok` or `stale`.
-- Invariants: the count of lost leases begins anew, since the worker outlived a step.
local base, queue, id, body, what = KEYS[1], ARGV[1], ARGV[2], ARGV[4], ARGV[5]
local task = held(base, queue, id, ARGV[3])
if not task then
  return 'stale'
end
task.rescues = 0
if what == 'keep' then
  redis.call('HSET', task.key, 'body', body, 'rescues', 0)
elseif what == 'turn' then
  task_return(base, queue, id, task, 0, 0, body, now_ms(base), true)
else
  task_delay(base, queue, id, task, now_ms(base) + tonumber(what), 0, body)
end
return 'ok'
