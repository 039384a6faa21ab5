-- Starts a run: lays out its nodes, queues its root fetches and `started`, and ends the StartRun task. Root fetches go before
-- what other runs of the account have queued, behind root fetches that wait there, so that a run begins though another one has
-- much to do.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, 4 payload of `started`, 5 in-flight limit of the account's lane, 6 number of root tasks (0 for a
--      retry, which has its own),
--      then for each root task: node, body; then field, value, … of the nodes
-- Returns `ok`, `stale` (lease lost) or `run_ended` (stopped before it began; the task is gone).
local base, id, run = KEYS[1], ARGV[1], ARGV[3]
local task = held(base, 'runs', id, ARGV[2])
if not task then
  return 'stale'
end
local run_key, now = base .. ':run:' .. run, now_ms(base)
local state = redis.call('HMGET', run_key, 'status', 'account', 'webhook', 'events', 'environment')
if state[1] ~= 'created' then
  task_done(base, 'runs', id, task)
  return 'run_ended'
end
local roots, entries = tonumber(ARGV[6]), {}
for i = 1, roots do
  local node, body = ARGV[5 + 2 * i], ARGV[6 + 2 * i]
  entries[i] = entry_of(run .. '.' .. i, 0, 0, now, 'fetch.1 ' .. node .. ' 0 ' .. body)
  redis.call('HINCRBY', run_key, 'n' .. node .. ':open', 1)
end
redis.call('HSET', run_key, 'status', 'running', 'started_at', now, 'open', roots, 'tasks', roots, 'roots', roots,
  'fetch_limit', ARGV[5],
  unpack(ARGV, 7 + 2 * roots))
if subscribed(state[4], 'sync_job_run:started') then
  stream_push(base, run, run_key, state[3], 'c', 'sync_job_run:started', 0, 0, ARGV[4])
  stream_schedule(base, run, run_key, 'c', now)
else
  redis.call('HSET', run_key, 'started_settled', 1)
end
local budget = redis.call('HMGET', run_key, 'fetch_place', 'fetch_most')
if budget[1] then
  redis.call('SADD', base .. ':environment:' .. state[5] .. ':place', budget[1])
end
if budget[2] then
  redis.call('HSET', base .. ':environment:' .. budget[1] .. ':limits', 'fetches', budget[2])
elseif budget[1] then
  redis.call('DEL', base .. ':environment:' .. budget[1] .. ':limits')
end
if budget[1] then
  -- It may have more room now.
  place_release(base, 'fetches', budget[1])
end
run_began(base, run, run_key, now)
retry_begin(base, run, run_key, entries, now)
local ahead = roots > 0 and roots_ahead(base, state[2]) or MOST_ROOTS_AHEAD
if ahead < MOST_ROOTS_AHEAD then
  push_behind(base, state[2], ahead, entries)
  lane_enter(base, 'fetches', state[2], budget[1] or state[5], ARGV[5])
else
  lane_push(base, 'fetches', state[2], budget[1] or state[5], ARGV[5], entries)
end
task_done(base, 'runs', id, task)
return 'ok'
