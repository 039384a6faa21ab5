-- Begins an attempt at a letter, if the redrive still goes on.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 redrive, 4 event, 5 requests a second of the webhook (0: any number)
-- Returns {`letter`, tries that were not accepted, ms since the first attempt at it (or since the webhook was
-- released, if that is later), bytes to send}, {`gone`} (there is no such
-- letter any more), {`paced`} (the task waits for the webhook's pace or pause), {`ended`} (the redrive was cancelled; the task is gone) or {`stale`}
-- (lease lost).
-- Invariants: `tries` are those of `current`. Called twice it takes leave of the pace twice and changes nothing else.
local base, id, redrive, event = KEYS[1], ARGV[1], ARGV[3], ARGV[4]
local task = held(base, 'deliveries', id, ARGV[2])
if not task then
  return { 'stale' }
end
local key = base .. ':redrive:' .. redrive
local state = redis.call('HMGET', key, 'status', 'current', 'tries', 'webhook', 'current_since')
if state[1] ~= 'running' then
  task_done(base, 'deliveries', id, task)
  return { 'ended' }
end
local letter = redis.call('HMGET', base .. ':dead_letter:' .. event, 'webhook', 'body')
if not letter[1] or letter[1] ~= state[4] then
  return { 'gone' }
end
local now = now_ms(base)
if rests(base, task.lane, now) then
  task_return(base, 'deliveries', id, task, 0, task.rescues, task.body, now, true)
  return { 'paced' }
end
if not paced(base, task.lane, id, task, tonumber(ARGV[5]), false, now) then
  return { 'paced' }
end
if state[2] ~= event then
  redis.call('HSET', key, 'current', event, 'tries', 0, 'current_since', now)
  state[3], state[5] = '0', now
end
local released = tonumber(redis.call('GET', base .. ':released:' .. state[4])) or 0
local since = math.max(0, now - math.max(tonumber(state[5]) or now, released))
return { 'letter', state[3], string.format('%.0f', since), letter[2] }
