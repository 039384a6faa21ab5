-- Settles the letter in work: accepted, or given up once more. The cursor moves past it in the same step.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 redrive, 4 event, 5 `delivered` | `failed`, 6 HTTP status (0: none), 7 cause (failed), 8 reason (failed),
--      9 attempts made now: 0 or 1, 10 ms until the next letter, or empty: the task goes on, 11 most events listed of a run
-- Returns `ok`, `repeated` (settled before under this lease; the task goes on), `ended` (the redrive was cancelled meanwhile;
-- the task is gone) or `stale` (lease lost, or another letter is in work).
-- Invariants: each letter is settled once, and by one redrive, whoever else was sending it when that was cancelled; an
-- accepted one is gone and counted by its run, as long as that is kept.
local base, id, redrive, event = KEYS[1], ARGV[1], ARGV[3], ARGV[4]
local task = held(base, 'deliveries', id, ARGV[2])
if not task then
  return 'stale'
end
local key, now = base .. ':redrive:' .. redrive, now_ms(base)
local state = redis.call('HMGET', key, 'current', 'cursor', 'webhook', 'status')
if state[1] ~= event then
  return state[2] == event and 'repeated' or 'stale'
end
local counts
if ARGV[5] == 'delivered' then
  counts = letter_accepted(base, state[3], event, ARGV[6], tonumber(ARGV[11]), now)
  health_ok(base, task.lane)
else
  if ARGV[9] == '1' then
    letter_tried(base, event)
  end
  counts = letter_refused(base, event, ARGV[7], ARGV[8], ARGV[6])
  redis.call('HSET', key, 'last_error', ARGV[8])
end
if counts then
  redis.call('HINCRBY', key, ARGV[5], 1)
end
redis.call('HSET', key, 'cursor', event)
redis.call('HDEL', key, 'current', 'tries')
if state[4] ~= 'running' then
  task_done(base, 'deliveries', id, task)
  return 'ended'
end
-- Leases lost before this were lost over this letter.
task.rescues = 0
if ARGV[10] == '' then
  redis.call('HSET', task.key, 'rescues', 0)
else
  task_delay(base, 'deliveries', id, task, now + tonumber(ARGV[10]), 0, task.body)
end
return 'ok'
