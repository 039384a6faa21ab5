-- Ends a redrive and its task: every letter is dealt with, or nothing can be sent any more.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 redrive, 4 `completed` | `cancelled`, 5 reason, or empty
-- Returns `ok` or `stale`. One that was cancelled before stays so.
local base, id = KEYS[1], ARGV[1]
local task = held(base, 'deliveries', id, ARGV[2])
if not task then
  return 'stale'
end
if redis.call('HGET', base .. ':redrive:' .. ARGV[3], 'status') == 'running' then
  redrive_end(base, ARGV[3], ARGV[4], ARGV[5], now_ms(base))
end
task_done(base, 'deliveries', id, task)
return 'ok'
