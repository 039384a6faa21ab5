-- Taking away what belonged to an environment or an account that was deleted. Needs: clock, queue, timeline, mutex, flow,
-- stream, cron, workflow, run. All of it is harmless when it is done again.

-- A task that is delayed or claimed; a worker that has it finds its lease lost.
local function drop_task(base, queue, id)
  local q = base .. ':' .. queue
  local task = redis.call('HMGET', q .. ':task:' .. id, 'lane', 'place')
  local lane = task[1]
  if not lane then
    return
  end
  redis.call('DEL', q .. ':task:' .. id)
  redis.call('ZREM', q .. ':delayed', id)
  if redis.call('ZSCORE', q .. ':claimed', id) then
    leave_claimed(base, queue, id, { lane = lane, place = task[2] })
  end
  lane_offer(base, queue, lane)
end

-- Takes a place without lanes out of the turns, as the next claim would.
local function leave_turns(base, queue, place)
  local q = base .. ':' .. queue
  if redis.call('EXISTS', q .. ':turns:' .. place) == 1 then
    return
  end
  local environment = place:match('^(.-)/')
  if environment then
    redis.call('SREM', q .. ':groups', place)
    redis.call('LREM', q .. ':turns:' .. environment, 0, place)
    return leave_turns(base, queue, environment)
  end
  redis.call('ZREM', q .. ':turns', place)
end

-- The ready tasks of a lane and whatever holds it; the lane itself goes with its last claimed task.
local function drop_lane(base, queue, lane)
  local q = base .. ':' .. queue
  local lane_key = q .. ':lane:' .. lane
  redis.call('UNLINK', q .. ':ready:' .. lane)
  if redis.call('HDEL', lane_key, 'in_rotation') == 1 then
    local place = redis.call('HGET', lane_key, 'place') or lane
    redis.call('LREM', q .. ':turns:' .. place, 0, lane)
    leave_turns(base, queue, place)
  end
  redis.call('HDEL', lane_key, 'blocked_until', 'limited_until', 'awaits_account', 'circuit', 'circuit_until')
  redis.call('ZREM', q .. ':blocked', lane)
  lane_offer(base, queue, lane)
end

-- A stream of a run or of an outbox: what waits in it, its task, and what parked because of it.
local function drop_stream(base, source, key, webhook, n)
  local parked = base .. ':flow:' .. webhook .. ':parked'
  redis.call('UNLINK', parked .. ':' .. source .. ':' .. n)
  redis.call('SREM', parked, source .. ' ' .. n)
  local waits = redis.call('HMGET', key, 's' .. n .. ':bytes', 's' .. n .. ':records')
  if (tonumber(waits[1]) or 0) > 0 then
    flow_remove(base, key, n, webhook, tonumber(waits[1]), tonumber(waits[2]) or 0)
  end
  redis.call('UNLINK', key .. ':stream:' .. n, key .. ':index:' .. n)
  drop_task(base, 'deliveries', (delivery_task(source, n)))
end

-- A run, whatever state it is in.
local function drop_run(base, environment, run)
  local run_key = base .. ':run:' .. run
  local state = redis.call('HMGET', run_key, 'webhook', 'account', 'nodes')
  redis.call('ZREM', base .. ':environment:' .. environment .. ':run', run)
  if not state[1] then
    return
  end
  drop_stream(base, run, run_key, state[1], 'c')
  for i = 0, (tonumber(state[3]) or 0) - 1 do
    drop_stream(base, run, run_key, state[1], tostring(i))
  end
  drop_task(base, 'runs', run .. '.start')
  -- A run of another account may wait for it.
  mutex_leave(base, run, run_key, now_ms(base))
  redis.call('ZREM', base .. ':deadlines', run)
  redis.call('SREM', base .. ':account:' .. state[2] .. ':run', run)
  run_forget(run_key)
end
