-- Claims ready tasks of a queue: environments take turns by weight, their lanes in order, and each turn is a few tasks of
-- one lane. On the way: delayed tasks that are due and lanes whose block has ended come back; fetch tasks of ended runs
-- are dropped, those of a webhook over its mark are parked, and a lane whose account has a pace waits for it. While Redis
-- is nearly full and deliveries can make room, fetch tasks are only dropped, not claimed.
-- KEYS 1 base
-- ARGV 1 queue, 2 tasks wanted, 3 most of one lane at a turn, 4 lease ms, 5 token, 6 `1`: a claim under this token may
--      have been made before and its answer lost; what it claimed is ready again, uncounted
-- Returns {ms until the next timer or -1, 1 if more can be claimed at once, then for each task: id, lane, attempt,
-- rescues, ready since ms, body}. Sets `idle` when fewer than wanted were found, so that the next push wakes someone.
-- Cost: O(wanted) and the logarithm of the environments with work, whatever the backlog.
local base, queue = KEYS[1], ARGV[1]
local wanted, per_turn, lease_ms, token = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local MAX_TIMERS, MAX_TURNS, MAX_REMOVED = 200, 200, 1000
-- Leases looked at for those of a claim whose answer was lost.
local MAX_LOST = 1000
-- Until the next look while nothing is fetched because Redis is nearly full, ms.
local FULL_LOOK = 1000
local q, now = base .. ':' .. queue, now_ms(base)

local paused = queue == 'fetches' and store_full(base)

-- Lanes that workers of before environments took turns have put into a rotation of their own.
for _, lane in ipairs(redis.call('LPOP', q .. ':rotation', MAX_TIMERS) or {}) do
  redis.call('HDEL', q .. ':lane:' .. lane, 'in_rotation')
  lane_offer(base, queue, lane)
end

if ARGV[6] == '1' then
  -- The newest leases end last.
  for _, id in ipairs(redis.call('ZREVRANGE', q .. ':claimed', 0, MAX_LOST - 1)) do
    local task = held(base, queue, id, token)
    if task then
      task_return(base, queue, id, task, task.attempt, task.rescues, task.body, now, false)
    end
  end
end

-- What waited is due before what came meanwhile, but for streams: one that lingers again and again would never let another
-- one have its turn.
local back = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', q .. ':delayed', '-inf', now, 'LIMIT', 0, MAX_TIMERS)) do
  local key = q .. ':task:' .. id
  local task = redis.call('HMGET', key, 'lane', 'limit', 'attempt', 'rescues', 'body', 'place')
  redis.call('ZREM', q .. ':delayed', id)
  redis.call('DEL', key)
  if task[1] then
    local entry = entry_of(id, task[3], task[4], now, task[5])
    if queue == 'deliveries' then
      lane_push(base, queue, task[1], task[6], task[2], { entry })
    else
      local of_lane = back[task[1]] or { entries = {} }
      back[task[1]], of_lane.place, of_lane.limit = of_lane, task[6], task[2]
      table.insert(of_lane.entries, entry)
    end
  end
end
for lane, of_lane in pairs(back) do
  push_back(base, queue, lane, of_lane.entries)
  lane_enter(base, queue, lane, of_lane.place, of_lane.limit)
end
for _, lane in ipairs(redis.call('ZRANGEBYSCORE', q .. ':blocked', '-inf', now, 'LIMIT', 0, MAX_TIMERS)) do
  redis.call('ZREM', q .. ':blocked', lane)
  redis.call('HDEL', q .. ':lane:' .. lane, 'blocked_until')
  lane_offer(base, queue, lane)
end
for _, place in ipairs(redis.call('ZRANGEBYSCORE', q .. ':paced', '-inf', now, 'LIMIT', 0, MAX_TIMERS)) do
  redis.call('ZREM', q .. ':paced', place)
  place_release(base, queue, place)
end

-- What to do with a fetch task that is about to start: nil = start it, and it counts for the pace of `paced`, its account or
-- the place of its integration.
local function obstacle(id, body, paced)
  local run_key = base .. ':run:' .. id:match('^[^.]+')
  local node = body:match('^%S+ (%S+)') or ''
  local run = redis.call('HMGET', run_key, 'status', 'webhook', 'fetch_gap', 'fetch_slack')
  if not run_active(run[1]) then
    return 'drop'
  end
  if paused then
    return 'keep'
  end
  if stream_over(run_key, node) or webhook_over(base, run[2]) then
    return 'park', run[2], node
  end
  local free_at = run[3] and take_leave(base .. ':pace:' .. paced, tonumber(run[3]), tonumber(run[4]), now)
  if free_at then
    return 'wait', free_at
  end
  return nil
end

-- How many more tasks of a place may be in flight.
local function room_in(place, most)
  if queue ~= 'fetches' or not most then
    return wanted
  end
  return most - (tonumber(redis.call('HGET', q .. ':in_flight', place)) or 0)
end

-- With `paused` a claim looks at each lane once at most, and at those that share a limit one after the other, so that all
-- are in the same order as before: the lanes and whole groups that it looked at, their environments, and the passes of those
-- that are through, since what is next in them has had its look.
local seen, looked_at, looked_through = {}, {}, {}

-- The environment whose turn it is, its weight, the place and the lane that are next in it, and how many tasks of that
-- place may start.
local function next_turn()
  while true do
    local environment = redis.call('ZRANGE', q .. ':turns', 0, 0)[1]
    if not environment then
      return nil
    end
    local weight, most = limits_of(base, environment)
    local room = room_in(environment, most)
    local lane = room > 0 and redis.call('LPOP', q .. ':turns:' .. environment)
    local place = environment
    if lane and lane:find('/', 1, true) then
      place = lane
      redis.call('SREM', q .. ':groups', place)
      local _, most_of_group = limits_of(base, place)
      local room_of_group = room_in(place, most_of_group)
      lane = room_of_group > 0 and redis.call('LPOP', q .. ':turns:' .. place)
      room = math.min(room, room_of_group)
    end
    if lane and not seen[lane] then
      return environment, weight, place, lane, room
    end
    if lane then
      redis.call('LPUSH', q .. ':turns:' .. place, lane)
      local through = seen[place] or place == environment
      if place ~= environment then
        seen[place] = true
        redis.call('SADD', q .. ':groups', place)
        redis.call(through and 'LPUSH' or 'RPUSH', q .. ':turns:' .. environment, place)
      end
      if through then
        looked_through[environment] = redis.call('ZSCORE', q .. ':turns', environment)
        redis.call('ZREM', q .. ':turns', environment)
      end
    else
      if room <= 0 then
        redis.call('SADD', q .. ':full', place)
      end
      if place == environment or redis.call('EXISTS', q .. ':turns:' .. environment) == 0 then
        redis.call('ZREM', q .. ':turns', environment)
      end
    end
  end
end

local reply, claimed, removed, turns = { -1, 0 }, 0, 0, 0
while claimed < wanted and turns < MAX_TURNS and removed < MAX_REMOVED do
  local environment, weight, place, lane, open = next_turn()
  if not environment then
    break
  end
  local list, grouped = q .. ':turns:' .. place, place ~= environment
  turns, seen[lane], looked_at[environment] = turns + 1, paused, paused or nil
  local lane_key = q .. ':lane:' .. lane
  local state = redis.call('HMGET', lane_key, 'in_flight', 'limit', 'blocked_until', 'circuit', 'place')
  local room = lane_limit(state[2], state[4]) - (tonumber(state[1]) or 0)
  local counted = queue == 'fetches' and state[5]
  local entries
  -- One that has gone to another place since is offered there.
  if room > 0 and not state[3] and (state[5] or lane) == place then
    entries = redis.call('LPOP', q .. ':ready:' .. lane, math.min(per_turn, room, open, wanted - claimed))
  end
  local started, kept, free_at = 0, {}, nil
  for _, entry in ipairs(entries or {}) do
    local id, attempt, rescues, since, body = entry:match('^(%S+) (%d+) (%d+) (%d+) (.*)$')
    local what, of, node
    if queue == 'fetches' then
      what, of, node = obstacle(id, body, grouped and place or lane)
    end
    if what == 'drop' then
      removed = removed + 1
    elseif what == 'park' then
      removed = removed + 1
      park(base, of, id:match('^[^.]+'), node, lane, state[2] or 1, entry)
    elseif what then
      table.insert(kept, 1, entry)
      free_at = what == 'wait' and of or free_at
    else
      redis.call('HSET', q .. ':task:' .. id, 'token', token, 'lane', lane, 'attempt', attempt, 'rescues', rescues,
        'body', body, 'step', 0)
      if counted then
        redis.call('HSET', q .. ':task:' .. id, 'place', counted)
      end
      redis.call('ZADD', q .. ':claimed', now + lease_ms, id)
      started = started + 1
      local at = #reply
      reply[at + 1], reply[at + 2], reply[at + 3] = id, lane, attempt
      reply[at + 4], reply[at + 5], reply[at + 6] = rescues, since, body
    end
  end
  if #kept > 0 then
    redis.call('LPUSH', q .. ':ready:' .. lane, unpack(kept))
  end
  if free_at and not grouped then
    lane_block(base, queue, lane, free_at)
  end
  claimed = claimed + started
  if started > 0 then
    redis.call('HINCRBY', lane_key, 'in_flight', started)
    if counted then
      count_in_flight(base, queue, counted, started)
    end
  end
  local stays = (state[5] or lane) == place and room > started and not state[3] and (grouped or not free_at)
  if stays and redis.call('EXISTS', q .. ':ready:' .. lane) == 1 then
    -- A lane that its integration's pace gave no turn is still the first.
    redis.call(free_at and started == 0 and 'LPUSH' or 'RPUSH', list, lane)
  else
    redis.call('HDEL', lane_key, 'in_rotation')
    if started < room then
      lane_offer(base, queue, lane)
    end
  end
  if grouped and free_at then
    redis.call('SADD', q .. ':full', place)
    redis.call('ZADD', q .. ':paced', free_at, place)
  elseif grouped and redis.call('EXISTS', list) == 1 then
    if paused then
      redis.call('SADD', q .. ':groups', place)
      redis.call('LPUSH', q .. ':turns:' .. environment, place)
    else
      place_enter(base, queue, place)
    end
  end
  if redis.call('EXISTS', q .. ':turns:' .. environment) == 0 then
    redis.call('ZREM', q .. ':turns', environment)
  elseif not paused then
    redis.call('ZINCRBY', q .. ':turns', math.floor(STRIDE / weight), environment)
  end
end

-- A look is no turn: all that were looked at move on alike, behind those that a claim didn't get to.
for environment in pairs(looked_at) do
  local pass = looked_through[environment] or redis.call('ZSCORE', q .. ':turns', environment)
  if pass then
    redis.call('ZADD', q .. ':turns', pass + STRIDE, environment)
  end
end

if claimed < wanted then
  if removed >= MAX_REMOVED or (paused and removed > 0) or (turns >= MAX_TURNS and not paused) then
    reply[2] = 1
  else
    redis.call('SET', q .. ':idle', 1)
  end
end
for _, timers in ipairs({ ':delayed', ':blocked', ':paced' }) do
  local first = redis.call('ZRANGE', q .. timers, 0, 0, 'WITHSCORES')
  if first[2] then
    local wait = math.max(0, tonumber(first[2]) - now)
    if reply[1] < 0 or wait < reply[1] then
      reply[1] = wait
    end
  end
end
if paused then
  reply[1] = FULL_LOOK
end
return reply
