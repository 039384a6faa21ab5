-- The atomic step of a fetch: a page, or a part of a large one, with everything that follows from it.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 step (commits made under this claim), 4 run, 5 node, 6 `done` | `next` (next page) | `again` (next
--      page, under another claim) | `part` (same page goes on), 7 body of the task from here on, 8 requests made, 9 pages ended, 10 records fetched, 11 lease ms,
--      12 number of chunks, then for each chunk: records, bytes;
--      then for each child task: node, position of its parent record in this commit (1 = first), body; one of the
--      task's own node (an element of a loop, a level of recursion) waits for what the task itself waits for
-- Returns {`ok`|`parked`, 1 if over a mark}, or {`repeated`} (this commit was made before: its answer was lost), {`stale`}
-- (lease lost: drop what is held), {`run_ended`} (the task is gone).
-- Children of a run's first tasks go to the end of the lane, and above MOST_AHEAD tasks in it the next page of a fetch that
-- has children waits behind them. Children of children go before all others (depth first), but for root fetches of runs that
-- have yet to begin: so the tasks of a run are those that its first ones made, and one page's for each level below and task in
-- work, however many levels it has.
-- Invariants: `seq` gapless; open tasks = tasks that exist; a repeated call changes nothing.
local MOST_AHEAD = 10000
local base, id, run, node = KEYS[1], ARGV[1], ARGV[4], ARGV[5]
local task = held(base, 'fetches', id, ARGV[2])
local step = tonumber(ARGV[3])
if not task or (task.step ~= step and task.step ~= step + 1) then
  return { 'stale' }
end
if task.step == step + 1 then
  return { 'repeated' }
end
local run_key, now = base .. ':run:' .. run, now_ms(base)
local n = 'n' .. node .. ':'
local state = redis.call('HMGET', run_key, 'status', 'webhook', 'events', n .. 'stored', 'fetch_limit', 'fetch_place', 'environment',
  'roots', 'awaits_account_since', 'retried')
if not run_active(state[1]) then
  task_done(base, 'fetches', id, task)
  return { 'run_ended' }
end
run_resume(run_key, state[1], now)
if ARGV[8] ~= '0' then
  source_answered(base, task.lane)
end
if state[9] and redis.call('HEXISTS', base .. ':fetches:lane:' .. task.lane, 'awaits_account') == 0 then
  -- One of more runs than a renewal looks at.
  redis.call('HDEL', run_key, 'awaits_account_since')
  note(base, run_key, 'credentials_renewed')
end

local what, webhook, records = ARGV[6], state[2], tonumber(ARGV[10])
local gate = task.body:match('^%S+ %S+ (%d+)')
local chunks, at = tonumber(ARGV[12]), 13
local first_seq = nil
if state[4] == '1' and chunks > 0 then
  first_seq = redis.call('HINCRBY', run_key, 's' .. node .. ':seq', records) - records + 1
  for _ = 1, chunks do
    stream_push(base, run, run_key, webhook, node, RECORD, ARGV[at], gate, ARGV[at + 1])
    at = at + 2
  end
else
  at = at + 2 * chunks
end

local deep = follows(id:match('%d+$'), state[10], state[8])
local children, by_node = (#ARGV - at + 1) / 3, {}
if children > 0 then
  local entries, number = {}, redis.call('HINCRBY', run_key, 'tasks', children) - children
  for i = 1, children do
    local kid = ARGV[at]
    local kid_gate = first_seq and kid ~= node and first_seq + tonumber(ARGV[at + 1]) - 1 or gate
    entries[i] = entry_of(run .. '.' .. number + i, 0, 0, now, 'fetch.1 ' .. kid .. ' ' .. kid_gate .. ' ' .. ARGV[at + 2])
    by_node[kid] = (by_node[kid] or 0) + 1
    at = at + 3
  end
  redis.call('HINCRBY', run_key, 'open', children)
  for kid, count in pairs(by_node) do
    redis.call('HINCRBY', run_key, 'n' .. kid .. ':open', count)
  end
  local place = state[6] or state[7]
  if deep then
    push_deep(base, task.lane, entries)
    lane_enter(base, 'fetches', task.lane, place, state[5])
  else
    lane_push(base, 'fetches', task.lane, place, state[5], entries)
  end
end

redis.call('HINCRBY', run_key, n .. 'fetched', records)
if ARGV[8] ~= '0' then
  redis.call('HINCRBY', run_key, n .. 'requests', ARGV[8])
end
if ARGV[9] ~= '0' then
  redis.call('HINCRBY', run_key, n .. 'pages', ARGV[9])
end

local over = flow_over(base, run_key, node, webhook)
local answer = 'ok'
if what == 'done' then
  task_done(base, 'fetches', id, task)
  node_task_done(base, run, run_key, node, now)
elseif what ~= 'part' and over then
  redis.call('DEL', task.key)
  leave_claimed(base, 'fetches', id, task)
  park(base, webhook, run, node, task.lane, state[5], entry_of(id, 0, 0, now, ARGV[7]))
  lane_offer(base, 'fetches', task.lane)
  answer = 'parked'
elseif what ~= 'part' and children > 0 and redis.call('LLEN', base .. ':fetches:ready:' .. task.lane) > MOST_AHEAD then
  task_return(base, 'fetches', id, task, 0, 0, ARGV[7], now, true)
  answer = 'parked'
elseif what == 'again' then
  -- At a pace each page is a turn, also among the fetches of one account; but the deeper ones end before others of their run
  -- begin.
  local takes_turns = not deep and redis.call('HEXISTS', run_key, 'fetch_gap') == 1
  task_return(base, 'fetches', id, task, 0, 0, ARGV[7], now, takes_turns)
  answer = 'parked'
else
  redis.call('HSET', task.key, 'body', ARGV[7], 'attempt', 0, 'rescues', 0, 'step', step + 1)
  redis.call('ZADD', base .. ':fetches:claimed', 'XX', now + tonumber(ARGV[11]), id)
end
if first_seq then
  stream_schedule(base, run, run_key, node, now)
end
if what == 'done' then
  run_settle(base, run, run_key, now)
end
return { answer, over and 1 or 0 }
