-- Lanes and tasks. Needs: entries. A task is either one entry of its lane's list (`ready`), or a
-- hash `task:<id>` named in exactly one of the sets `claimed` and `delayed`.
-- Environments take turns, and within each its lanes: `turns` holds the environments that have lanes which may run, each
-- with its pass. The lowest pass goes next, with the next entry of `turns:<environment>`, and moves on by STRIDE / weight.
-- Lanes of an integration that has one budget for all of its accounts are one entry together, `<environment>/<integration>`,
-- and take turns in `turns:<environment>/<integration>`; such entries are in the set `groups` while they are in a list.
-- A lane's `place` is one or the other. `environment:<place>:limits` holds what was set for it: `weight`, and `fetches`,
-- the most of them in flight; `in_flight` counts them. Places that have as many are in `full`, out of all turns, and so are
-- those that wait for their pace, whose time is in `paced`.

-- What an environment of weight 1 moves on by. Whole numbers stay exact for 10^11 turns without a break.
local STRIDE = 10000

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

local function limits_of(base, place)
  local limits = redis.call('HMGET', base .. ':environment:' .. place .. ':limits', 'weight', 'fetches')
  return tonumber(limits[1]) or 1, tonumber(limits[2])
end

-- Lets an environment take turns: a stride behind the one that is next, so that to leave and come back gains nothing, and
-- just before those that have their turn then.
local function environment_enter(base, queue, environment)
  local turns = base .. ':' .. queue .. ':turns'
  if redis.call('ZSCORE', turns, environment) then
    return
  end
  local first = redis.call('ZRANGE', turns, 0, 0, 'WITHSCORES')
  local stride = math.floor(STRIDE / limits_of(base, environment))
  redis.call('ZADD', turns, (tonumber(first[2]) or 0) + stride - 1, environment)
end

-- Lets a place that has lanes in its list take turns, unless it is full.
local function place_enter(base, queue, place)
  local q = base .. ':' .. queue
  if redis.call('SISMEMBER', q .. ':full', place) == 1 then
    return
  end
  local environment = place:match('^(.-)/')
  if not environment then
    return environment_enter(base, queue, place)
  end
  if redis.call('SADD', q .. ':groups', place) == 1 then
    redis.call('RPUSH', q .. ':turns:' .. environment, place)
  end
  place_enter(base, queue, environment)
end

-- Counts fetches in flight, of a place and of the environment that it is in.
local function count_in_flight(base, queue, place, count)
  local key = base .. ':' .. queue .. ':in_flight'
  if redis.call('HINCRBY', key, place, count) <= 0 then
    redis.call('HDEL', key, place)
  end
  local environment = place:match('^(.-)/')
  if environment then
    count_in_flight(base, queue, environment, count)
  end
end

-- A place that had as many in flight as it may takes turns again, with the environment that it is in: the next claim sees.
local function place_release(base, queue, place)
  local environment = place:match('^(.-)/')
  if environment then
    place_release(base, queue, environment)
  end
  if redis.call('SREM', base .. ':' .. queue .. ':full', place) == 1 then
    place_enter(base, queue, place)
    wake(base, queue)
  end
end

-- Puts a lane into the turns of its place if one of its tasks may start now; forgets a lane that has nothing.
local function lane_offer(base, queue, lane)
  local q = base .. ':' .. queue
  local lane_key = q .. ':lane:' .. lane
  local state = redis.call('HMGET', lane_key, 'in_flight', 'limit', 'blocked_until', 'in_rotation', 'circuit',
    'place')
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
  -- A lane of before environments took turns is as one of its own.
  local place = state[6] or lane
  redis.call('RPUSH', q .. ':turns:' .. place, lane)
  place_enter(base, queue, place)
  wake(base, queue)
end

-- Lets a lane whose entries are in its list take turns in `place` (false: where it is).
local function lane_enter(base, queue, lane, place, limit)
  local lane_key = base .. ':' .. queue .. ':lane:' .. lane
  redis.call('HSET', lane_key, 'limit', limit)
  if place then
    redis.call('HSET', lane_key, 'place', place)
  end
  lane_offer(base, queue, lane)
end

-- Adds entries to the end of a lane in `place` (false: where it is).
local function lane_push(base, queue, lane, place, limit, entries)
  push_entries(base .. ':' .. queue .. ':ready:' .. lane, entries, 'RPUSH')
  lane_enter(base, queue, lane, place, limit)
end

-- Takes a lane out of the turns until `free_at`; the longest wait wins. Returns the time it is free.
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
  local task = redis.call('HMGET', key, 'token', 'lane', 'attempt', 'rescues', 'body', 'step', 'place')
  if not task[1] or task[1] ~= token then
    return nil
  end
  return {
    key = key, lane = task[2], attempt = tonumber(task[3]), rescues = tonumber(task[4]),
    body = task[5], step = tonumber(task[6]), place = task[7],
  }
end

-- The end of a claim: the lane has room for one more.
local function leave_claimed(base, queue, id, task)
  redis.call('ZREM', base .. ':' .. queue .. ':claimed', id)
  redis.call('HINCRBY', base .. ':' .. queue .. ':lane:' .. task.lane, 'in_flight', -1)
  -- Where it was counted; the lane may have gone elsewhere since.
  if task.place then
    count_in_flight(base, queue, task.place, -1)
    place_release(base, queue, task.place)
  end
end

local function task_done(base, queue, id, task)
  redis.call('DEL', task.key)
  leave_claimed(base, queue, id, task)
  lane_offer(base, queue, task.lane)
end

-- A task that isn't claimed, to become ready at `due`.
local function delay_new(base, queue, id, lane, place, limit, attempt, rescues, body, due)
  local key = base .. ':' .. queue .. ':task:' .. id
  redis.call('HSET', key, 'lane', lane, 'limit', limit, 'attempt', attempt, 'rescues', rescues, 'body', body)
  if place then
    redis.call('HSET', key, 'place', place)
  end
  redis.call('ZADD', base .. ':' .. queue .. ':delayed', due, id)
  wake(base, queue)
end

-- A claimed task, to become ready again at `due`.
local function task_delay(base, queue, id, task, due, attempt, body)
  local lane = redis.call('HMGET', base .. ':' .. queue .. ':lane:' .. task.lane, 'limit', 'place')
  redis.call('HDEL', task.key, 'token', 'step')
  leave_claimed(base, queue, id, task)
  delay_new(base, queue, id, task.lane, lane[2], lane[1] or 1, attempt, task.rescues, body, due)
  lane_offer(base, queue, task.lane)
end

-- A claimed task, back into its lane: at the front, or at the end so that others get their turn.
local function task_return(base, queue, id, task, attempt, rescues, body, now, at_end)
  redis.call('DEL', task.key)
  leave_claimed(base, queue, id, task)
  local entry = entry_of(id, attempt, rescues, now, body)
  if at_end then
    redis.call('RPUSH', base .. ':' .. queue .. ':ready:' .. task.lane, entry)
  else
    push_back(base, queue, task.lane, { entry })
  end
  lane_offer(base, queue, task.lane)
end
