-- A fetch that its account's credentials keep from going on: it goes back to its lane without using up an attempt, and the
-- lane waits until the account is active again (`release_account`), or so long that the run is given up.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, 4 node, 5 requests made, 6 environment, 7 ms that a run waits at most, 8 ms of delay when the
--      account is active by now, 9 message for a run that is given up
-- Returns `ok`, `stale`, or `run_ended` (the task is gone; perhaps this call ended the run).
local base, id, run = KEYS[1], ARGV[1], ARGV[3]
local task = held(base, 'fetches', id, ARGV[2])
if not task then
  return 'stale'
end
local run_key, now = base .. ':run:' .. run, now_ms(base)
local state = redis.call('HMGET', run_key, 'status', 'account', 'awaits_account_since')
if not run_active(state[1]) then
  task_done(base, 'fetches', id, task)
  return 'run_ended'
end
redis.call('HINCRBY', run_key, 'n' .. ARGV[4] .. ':requests', ARGV[5])
local json = redis.call('GET', base .. ':object:integrated_account:' .. ARGV[6] .. ':' .. state[2])
local account = json and cjson.decode(json)
-- The worker outlived this attempt: leases lost before it say nothing about it.
task.rescues = 0
if account and account.status == 'active' then
  redis.call('HDEL', run_key, 'awaits_account_since')
  task_delay(base, 'fetches', id, task, now + tonumber(ARGV[8]), task.attempt, task.body)
  return 'ok'
end
local since = tonumber(state[3])
if since and now - since >= tonumber(ARGV[7]) then
  task_done(base, 'fetches', id, task)
  run_end(base, run, run_key, 'failed', 'needs_reauth', ARGV[9], '', now)
  return 'run_ended'
end
if not since then
  redis.call('HSET', run_key, 'awaits_account_since', now)
  note(base, run_key, 'waiting_for_credentials')
  since = now
end
redis.call('HSET', base .. ':fetches:lane:' .. task.lane, 'awaits_account', 1)
lane_block(base, 'fetches', task.lane, since + tonumber(ARGV[7]))
task_return(base, 'fetches', id, task, task.attempt, 0, task.body, now, false)
return 'ok'
