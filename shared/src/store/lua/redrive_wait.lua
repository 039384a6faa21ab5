-- Puts the task of a redrive off. After a failure it waits by itself, or, while the circuit is open, with its lane; when the
-- receiver asked for a pause, the lane is blocked as long; when its turn is over, it goes to the end of its lane.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 redrive, 4 `turn` | `failed` | `asked`, 5 cursor: letters up to this one are dealt with (turn), or empty,
--      6 delay ms (failed) or pause ms (asked), 7 why (failed, asked), 8 event (failed), or ms that the request took (asked), 9 shortest and 10 longest wait of
--      the retry plan, ms, 11 random, 0 to 1 (failed)
-- Returns `ok`, `ended` (the redrive was cancelled; the task is gone) or `stale`.
local base, id, key, kind = KEYS[1], ARGV[1], KEYS[1] .. ':redrive:' .. ARGV[3], ARGV[4]
local task, now, delay = held(base, 'deliveries', id, ARGV[2]), now_ms(base), tonumber(ARGV[6])
local open, alone = false, true
if not task then
  return 'stale'
end
if kind == 'failed' then
  local failures = health_failed(base, task.lane, true, now)
  open = circuit_open(base, task.lane, failures, tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]), now)
  letter_tried(base, ARGV[8])
  redis.call('HINCRBY', key, 'tries', 1)
  if (tonumber(redis.call('HGET', key, 'current_since')) or 0) > now then
    redis.call('HSET', key, 'current_since', now)
  end
elseif kind == 'asked' then
  health_failed(base, task.lane, false, now)
  alone = leave_alone(base, task.lane, delay, tonumber(ARGV[8]), now)
  local letter = redis.call('HMGET', key, 'current', 'asked', 'current_since')
  if alone and letter[1] and (letter[1] ~= letter[2] or (tonumber(letter[3]) or 0) > now) then
    -- Its time begins when the first pause is over.
    redis.call('HSET', key, 'asked', letter[1], 'current_since', now + delay)
  end
end
if ARGV[7] ~= '' then
  redis.call('HSET', key, 'last_error', ARGV[7])
end
if redis.call('HGET', key, 'status') ~= 'running' then
  task_done(base, 'deliveries', id, task)
  return 'ended'
end
if ARGV[5] ~= '' then
  redis.call('HSET', key, 'cursor', ARGV[5])
end
-- The worker outlived this attempt: leases lost before it say nothing about the letter.
task.rescues = 0
if kind == 'failed' and not open then
  task_delay(base, 'deliveries', id, task, now + delay, 0, task.body)
elseif not alone then
  task_delay(base, 'deliveries', id, task, now + COPY_KEPT, 0, task.body)
else
  -- At the end, so that a letter that only fails itself lets the others probe.
  task_return(base, 'deliveries', id, task, 0, 0, task.body, now, true)
end
return 'ok'
