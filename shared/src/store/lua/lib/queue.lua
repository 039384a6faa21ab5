-- Lanes and tasks. Needs: nothing. A task is either one entry of its lane's list (`ready`), or a
-- hash `task:<id>` named in exactly one of the sets `claimed` and `delayed`.
-- Entry of a lane's list: `<id> <attempt> <rescues> <ready since, ms> <body>`.

-- Most entries of one push: Lua's stack takes about 8,000 arguments.
local PUSH_CHUNK = 1000

local function entry_of(id, attempt, rescues, since, body)
  return id .. ' ' .. attempt .. ' ' .. rescues .. ' ' .. since .. ' ' .. body
end

-- Wakes the workers that wait for this queue; costs one DEL when none does.
local function wake(base, queue)
  if redis.call('DEL', base .. ':' .. queue .. ':idle') == 1 then
    redis.call('PUBLISH', base .. ':wake', queue)
  end
end

-- Tasks of a lane that may be claimed at once: one while its circuit is open (lib/health).
local function lane_limit(limit, circuit)
  return circuit and 1 or tonumber(limit) or 1
end

-- Puts a lane into the rotation if one of its tasks may start now; forgets a lane that has nothing.
local function lane_offer(base, queue, lane)
  local q = base .. ':' .. queue
  local lane_key = q .. ':lane:' .. lane
  local state = redis.call('HMGET', lane_key, 'in_flight', 'limit', 'blocked_until', 'in_rotation', 'circuit')
  if state[4] then
    return wake(base, queue)
  end
  if state[3] then
    return
  end
  local in_flight = tonumber(state[1]) or 0
  if redis.call('EXISTS', q .. ':ready:' .. lane) == 0 then
    if in_flight <= 0 and not state[5] then
      redis.call('DEL', lane_key)
    end
    return
  end
  if in_flight >= lane_limit(state[2], state[5]) then
    return
  end
  redis.call('HSET', lane_key, 'in_rotation', 1)
  redis.call('RPUSH', q .. ':rotation', lane)
  wake(base, queue)
end

-- Adds entries to a lane: at its end, or (`front`) before all others.
local function lane_push(base, queue, lane, limit, entries, front)
  local q = base .. ':' .. queue
  local command = front and 'LPUSH' or 'RPUSH'
  for first = 1, #entries, PUSH_CHUNK do
    redis.call(command, q .. ':ready:' .. lane, unpack(entries, first, math.min(first + PUSH_CHUNK - 1, #entries)))
  end
  redis.call('HSET', q .. ':lane:' .. lane, 'limit', limit)
  lane_offer(base, queue, lane)
end

-- Takes a lane out of the rotation until `free_at`; the longest wait wins. Returns the time it is free.
local function lane_block(base, queue, lane, free_at)
  local q = base .. ':' .. queue
  local lane_key = q .. ':lane:' .. lane
  local current = tonumber(redis.call('HGET', lane_key, 'blocked_until')) or 0
  if current >= free_at then
    return current
  end
  redis.call('HSET', lane_key, 'blocked_until', free_at)
  redis.call('ZADD', q .. ':blocked', free_at, lane)
  wake(base, queue)
  return free_at
end

-- The claimed task, if `token` is that of its current lease; else nil.
local function held(base, queue, id, token)
  local key = base .. ':' .. queue .. ':task:' .. id
  local task = redis.call('HMGET', key, 'token', 'lane', 'attempt', 'rescues', 'body', 'step')
  if not task[1] or task[1] ~= token then
    return nil
  end
  return {
    key = key, lane = task[2], attempt = tonumber(task[3]), rescues = tonumber(task[4]),
    body = task[5], step = tonumber(task[6]),
  }
end

-- The end of a claim: the lane has room for one more.
local function leave_claimed(base, queue, id, lane)
  redis.call('ZREM', base .. ':' .. queue .. ':claimed', id)
  redis.call('HINCRBY', base .. ':' .. queue .. ':lane:' .. lane, 'in_flight', -1)
end

local function task_done(base, queue, id, task)
  redis.call('DEL', task.key)
  leave_claimed(base, queue, id, task.lane)
  lane_offer(base, queue, task.lane)
end

-- A task that isn't claimed, to become ready at `due`.
local function delay_new(base, queue, id, lane, limit, attempt, rescues, body, due)
  redis.call('HSET', base .. ':' .. queue .. ':task:' .. id, 'lane', lane, 'limit', limit, 'attempt', attempt,
    'rescues', rescues, 'body', body)
  redis.call('ZADD', base .. ':' .. queue .. ':delayed', due, id)
  wake(base, queue)
end

-- A claimed task, to become ready again at `due`.
local function task_delay(base, queue, id, task, due, attempt, body)
  local limit = redis.call('HGET', base .. ':' .. queue .. ':lane:' .. task.lane, 'limit') or 1
  redis.call('HDEL', task.key, 'token', 'step')
  leave_claimed(base, queue, id, task.lane)
  delay_new(base, queue, id, task.lane, limit, attempt, task.rescues, body, due)
  lane_offer(base, queue, task.lane)
end

-- A claimed task, back into its lane: at the front, or at the end so that others get their turn.
local function task_return(base, queue, id, task, attempt, rescues, body, now, at_end)
  redis.call('DEL', task.key)
  leave_claimed(base, queue, id, task.lane)
  local command = at_end and 'RPUSH' or 'LPUSH'
  redis.call(command, base .. ':' .. queue .. ':ready:' .. task.lane, entry_of(id, attempt, rescues, now, body))
  lane_offer(base, queue, task.lane)
end
