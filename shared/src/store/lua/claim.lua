-- Claims ready tasks of a queue, a few from each lane in rotation. On the way: delayed tasks that are due and lanes whose
-- block has ended come back; fetch tasks of ended runs are dropped, those of a webhook over its mark are parked. While
-- Redis is nearly full and deliveries can make room, fetch tasks are only dropped, not claimed.
-- KEYS 1 base
-- ARGV 1 queue, 2 tasks wanted, 3 most of one lane at a turn, 4 lease ms, 5 token, 6 `1`: a claim under this token may
--      have been made before and its answer lost; what it claimed is ready again, uncounted
-- Returns {ms until the next timer or -1, 1 if more can be claimed at once, then for each task: id, lane, attempt,
-- rescues, ready since ms, body}. Sets `idle` when fewer than wanted were found, so that the next push wakes someone.
-- Cost: O(wanted), whatever the backlog.
local base, queue = KEYS[1], ARGV[1]
local wanted, per_turn, lease_ms, token = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local MAX_TIMERS, MAX_TURNS, MAX_REMOVED = 200, 200, 1000
-- Leases looked at for those of a claim whose answer was lost.
local MAX_LOST = 1000
-- Until the next look while nothing is fetched because Redis is nearly full, ms.
local FULL_LOOK = 1000
local q, now = base .. ':' .. queue, now_ms(base)

local paused = queue == 'fetches' and store_full(base)
if paused then
  -- Each lane gets one look.
  MAX_TURNS = math.min(MAX_TURNS, redis.call('LLEN', q .. ':rotation'))
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

for _, id in ipairs(redis.call('ZRANGEBYSCORE', q .. ':delayed', '-inf', now, 'LIMIT', 0, MAX_TIMERS)) do
  local key = q .. ':task:' .. id
  local task = redis.call('HMGET', key, 'lane', 'limit', 'attempt', 'rescues', 'body')
  redis.call('ZREM', q .. ':delayed', id)
  redis.call('DEL', key)
  if task[1] then
    lane_push(base, queue, task[1], task[2], { entry_of(id, task[3], task[4], now, task[5]) }, true)
  end
end
for _, lane in ipairs(redis.call('ZRANGEBYSCORE', q .. ':blocked', '-inf', now, 'LIMIT', 0, MAX_TIMERS)) do
  redis.call('ZREM', q .. ':blocked', lane)
  redis.call('HDEL', q .. ':lane:' .. lane, 'blocked_until')
  lane_offer(base, queue, lane)
end

-- What to do with a fetch task that is about to start: nil = start it.
local function obstacle(id, body)
  local run_key = base .. ':run:' .. id:match('^[^.]+')
  local node = body:match('^%S+ (%S+)') or ''
  local run = redis.call('HMGET', run_key, 'status', 'webhook')
  if not run_active(run[1]) then
    return 'drop'
  end
  if paused then
    return 'keep'
  end
  if stream_over(run_key, node) or webhook_over(base, run[2]) then
    return 'park', run[2], node
  end
  return nil
end

local reply, claimed, removed, turns = { -1, 0 }, 0, 0, 0
while claimed < wanted and turns < MAX_TURNS and removed < MAX_REMOVED do
  local lane = redis.call('LPOP', q .. ':rotation')
  if not lane then
    break
  end
  turns = turns + 1
  local lane_key = q .. ':lane:' .. lane
  local state = redis.call('HMGET', lane_key, 'in_flight', 'limit', 'blocked_until', 'circuit')
  local room = lane_limit(state[2], state[4]) - (tonumber(state[1]) or 0)
  local entries
  if room > 0 and not state[3] then
    entries = redis.call('LPOP', q .. ':ready:' .. lane, math.min(per_turn, room, wanted - claimed))
  end
  local started, kept = 0, {}
  for _, entry in ipairs(entries or {}) do
    local id, attempt, rescues, since, body = entry:match('^(%S+) (%d+) (%d+) (%d+) (.*)$')
    local what, webhook, node
    if queue == 'fetches' then
      what, webhook, node = obstacle(id, body)
    end
    if what == 'drop' then
      removed = removed + 1
    elseif what == 'park' then
      removed = removed + 1
      park(base, webhook, id:match('^[^.]+'), node, lane, state[2] or 1, entry)
    elseif what == 'keep' then
      table.insert(kept, 1, entry)
    else
      redis.call('HSET', q .. ':task:' .. id, 'token', token, 'lane', lane, 'attempt', attempt, 'rescues', rescues,
        'body', body, 'step', 0)
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
  claimed = claimed + started
  if started > 0 then
    redis.call('HINCRBY', lane_key, 'in_flight', started)
  end
  if room > started and not state[3] and redis.call('EXISTS', q .. ':ready:' .. lane) == 1 then
    redis.call('RPUSH', q .. ':rotation', lane)
  else
    redis.call('HDEL', lane_key, 'in_rotation')
    if started == 0 then
      lane_offer(base, queue, lane)
    end
  end
end

if claimed < wanted then
  if removed >= MAX_REMOVED or (paused and removed > 0) or (turns >= MAX_TURNS and not paused) then
    reply[2] = 1
  else
    redis.call('SET', q .. ':idle', 1)
  end
end
for _, timers in ipairs({ ':delayed', ':blocked' }) do
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
