-- A fetch that its account keeps from going on, as the worker saw it. What the account is now decides: active: the fetch is
-- delayed shortly; gone or switched off: the run fails; else, under `fail_fast`, the run fails too, and otherwise the fetch
-- goes back to its lane without using up an attempt, and the lane waits until the account is active again
-- (`release_account`), or so long that the run is given up.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, 4 node, 5 requests made, 6 environment, 7 ms that a run waits at most, 8 ms of delay when the
--      account is active by now, 9 `1`: the run fails at once, then messages for a run that fails: 10 at once, 11 after its wait,
--      12 since the account is gone, 13 since it is switched off
-- Returns `ok`, `stale`, or `run_ended` (the task is gone; perhaps this call ended the run).
local base, id, run = KEYS[1], ARGV[1], ARGV[3]
local task = held(base, 'fetches', id, ARGV[2])
if not task then
  return 'stale'
end
local run_key, now = base .. ':run:' .. run, now_ms(base)
local state = redis.call('HMGET', run_key, 'status', 'account', 'awaits_account_since', 'started_at')
if not run_active(state[1]) then
  task_done(base, 'fetches', id, task)
  return 'run_ended'
end
redis.call('HINCRBY', run_key, 'n' .. ARGV[4] .. ':requests', ARGV[5])
if ARGV[5] ~= '0' then
  source_answered(base, task.lane)
end
local json = redis.call('GET', base .. ':object:integrated_account:' .. ARGV[6] .. ':' .. state[2])
local account = json and cjson.decode(json)
local gone = not account or (account.deleted_at and account.deleted_at ~= cjson.null)
-- The worker outlived this attempt: leases lost before it say nothing about it.
task.rescues = 0
if not gone and account.status == 'active' then
  redis.call('HDEL', run_key, 'awaits_account_since')
  task_delay(base, 'fetches', id, task, now + tonumber(ARGV[8]), task.attempt, task.body)
  return 'ok'
end
local lane_key = base .. ':fetches:lane:' .. task.lane
-- Runs behind others in the lane wait as long as the lane does, not only from when it is their turn.
local lane_since = tonumber(redis.call('HGET', lane_key, 'awaits_account'))
local since = tonumber(state[3])
-- A wait from before the lane's is over: the account was active meanwhile.
local is_new = not since or not lane_since or since < lane_since
if is_new then
  since = math.max(lane_since or now, tonumber(state[4]) or now)
end
local code, message
if gone then
  code, message = 'account_deleted', ARGV[12]
elseif account.status == 'disabled' then
  code, message = 'account_disabled', ARGV[13]
elseif ARGV[9] == '1' then
  code, message = 'needs_reauth', ARGV[10]
elseif now - since >= tonumber(ARGV[7]) then
  code, message = 'needs_reauth', ARGV[11]
end
if code then
  task_done(base, 'fetches', id, task)
  run_end(base, run, run_key, 'failed', code, message, '', now)
  return 'run_ended'
end
if is_new then
  redis.call('HSET', run_key, 'awaits_account_since', since)
  note(base, run_key, 'waiting_for_credentials')
end
redis.call('HSETNX', lane_key, 'awaits_account', now)
lane_block(base, 'fetches', task.lane, since + tonumber(ARGV[7]))
task_return(base, 'fetches', id, task, task.attempt, 0, task.body, now, false)
return 'ok'
