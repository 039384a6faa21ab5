-- Cron triggers. Needs: nothing. `cron` is a zset of all that are switched on, by the time at which they are looked at next:
-- their next fire with its jitter, the end of a claim's lease, or, while one waits for its run, a later look.
-- `cron:<trigger>`: `environment`, `due` (next fire by the schedule, ms), `next_run_at` (with its jitter, ms), `last_due`
-- (of the fire that was settled last), `last_run_at`, `last_run_id`, `missed`, `skipped`, `failed` (counts), `error`, `waits` (run that a fire waits for).
-- A fire is settled by whoever finds `due` as it was claimed, so once.

local function cron_schedule(base, id, environment, due, next_run_at)
  local key = base .. ':cron:' .. id
  redis.call('HSET', key, 'environment', environment, 'due', due, 'next_run_at', next_run_at)
  redis.call('HDEL', key, 'waits')
  redis.call('ZADD', base .. ':cron', next_run_at, id)
end

local function cron_unschedule(base, id)
  redis.call('HDEL', base .. ':cron:' .. id, 'due', 'next_run_at', 'waits')
  redis.call('ZREM', base .. ':cron', id)
end

-- A trigger whose schedule was changed. A fire that was settled already isn't made again: the one after it is next then.
local function cron_reschedule(base, id, environment, due, next_run_at, following, following_run_at)
  local last = tonumber(redis.call('HGET', base .. ':cron:' .. id, 'last_due')) or 0
  if tonumber(due) <= last then
    due, next_run_at = following, following_run_at
  end
  if due == '' then
    cron_unschedule(base, id)
  else
    cron_schedule(base, id, environment, due, next_run_at)
  end
end

local function cron_forget(base, id)
  redis.call('DEL', base .. ':cron:' .. id)
  redis.call('ZREM', base .. ':cron', id)
end

-- After a fire: on to the next one, if there is any; `missed` fires were passed over.
local function cron_advance(base, id, environment, due, next_run_at, missed)
  redis.call('HSET', base .. ':cron:' .. id, 'last_due', redis.call('HGET', base .. ':cron:' .. id, 'due'))
  if tonumber(missed) > 0 then
    redis.call('HINCRBY', base .. ':cron:' .. id, 'missed', missed)
  end
  if due == '' then
    cron_unschedule(base, id)
  else
    cron_schedule(base, id, environment, due, next_run_at)
  end
end

-- A run has ended that a fire may wait for.
local function cron_hasten(base, id, run, now)
  if redis.call('HGET', base .. ':cron:' .. id, 'waits') == run then
    redis.call('ZADD', base .. ':cron', 'XX', now, id)
  end
end
