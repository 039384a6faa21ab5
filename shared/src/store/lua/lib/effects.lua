-- What follows from a change of an object, in the same script as the change. Needs: clock, queue, timeline, mutex, flow,
-- stream, cron, workflow, run, outbox, health. Effects are arguments, one after another, each beginning with its name:
--   `event`, id, type, payload (JSON), ms that a dead letter of it is kept
--   `release_account`, account: fetches that waited for its credentials go on
--   `end_runs`, account, code, message: its runs fail; what they committed is delivered
--   `schedule`, cron trigger, next fire ms, the same with its jitter, the fire after it, the same with its jitter
--   `unschedule`, cron trigger
--   `forget_cron`, cron trigger
--   `release_webhook`, webhook: it is worth trying at once
--   `task`, id, body: a task of the environment, in the queue `runs`

-- Runs of one account that one change ends, or lets go on.
local MOST_RUNS = 1000

-- Ends the wait of a lane for its account; what the source asked for before still holds.
local function end_wait(base, account, now)
  local lane_key = base .. ':fetches:lane:' .. account
  if redis.call('HDEL', lane_key, 'awaits_account') == 0 then
    return false
  end
  local limited_until = tonumber(redis.call('HGET', lane_key, 'limited_until')) or 0
  redis.call('HDEL', lane_key, 'blocked_until')
  redis.call('ZREM', base .. ':fetches:blocked', account)
  if limited_until > now then
    lane_block(base, 'fetches', account, limited_until)
  else
    lane_offer(base, 'fetches', account)
  end
  return true
end

local function end_runs(base, account, code, message, now)
  for _, run in ipairs(redis.call('SRANDMEMBER', base .. ':account:' .. account .. ':run', MOST_RUNS)) do
    local run_key = base .. ':run:' .. run
    local status = redis.call('HGET', run_key, 'status')
    if status == 'created' or run_active(status) then
      run_end(base, run, run_key, 'failed', code, message, '', now)
    end
  end
  -- Their tasks are dropped as they are met, and those of runs that were not among these end them.
  end_wait(base, account, now)
end

local function release_account(base, account, now)
  if end_wait(base, account, now) then
    for _, run in ipairs(redis.call('SRANDMEMBER', base .. ':account:' .. account .. ':run', MOST_RUNS)) do
      if redis.call('HDEL', base .. ':run:' .. run, 'awaits_account_since') == 1 then
        note(base, base .. ':run:' .. run, 'credentials_renewed')
      end
    end
  end
end

local function apply_effects(base, environment, args, at, now)
  while args[at] do
    local effect = args[at]
    if effect == 'event' then
      emit(base, environment, args[at + 1], args[at + 2], args[at + 3], args[at + 4], now)
      at = at + 5
    elseif effect == 'release_account' then
      release_account(base, args[at + 1], now)
      at = at + 2
    elseif effect == 'end_runs' then
      end_runs(base, args[at + 1], args[at + 2], args[at + 3], now)
      at = at + 4
    elseif effect == 'schedule' then
      cron_reschedule(base, args[at + 1], environment, args[at + 2], args[at + 3], args[at + 4], args[at + 5])
      at = at + 6
    elseif effect == 'unschedule' then
      cron_unschedule(base, args[at + 1])
      at = at + 2
    elseif effect == 'forget_cron' then
      cron_forget(base, args[at + 1])
      at = at + 2
    elseif effect == 'release_webhook' then
      release_webhook(base, args[at + 1], now)
      at = at + 2
    elseif effect == 'task' then
      lane_push(base, 'runs', environment, environment, RUNS_AT_ONCE, { entry_of(args[at + 1], 0, 0, now, args[at + 2]) })
      at = at + 3
    else
      error('unknown effect ' .. effect)
    end
  end
end
