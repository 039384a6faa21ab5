-- Backpressure: undelivered bytes by stream and by webhook, and the fetch tasks parked because of them.
-- Needs: clock, queue, timeline. Marks in bytes; a task parks above HIGH and goes on below LOW.
-- Parked tasks are in a list by stream, `flow:<webhook>:parked:<run>:<n>`; those lists are named in the set
-- `flow:<webhook>:parked` as `<run> <n>`, webhooks that have any in the set `parked`.
local STREAM_HIGH, STREAM_LOW = 16 * 1024 * 1024, 8 * 1024 * 1024
local WEBHOOK_HIGH, WEBHOOK_LOW = 64 * 1024 * 1024, 32 * 1024 * 1024
-- While less than this waits for delivery, deliveries make no room worth waiting for.
local FLOOR = 1024 * 1024
-- Parked tasks of one webhook handed back at a time, and streams looked at for them. A webhook below its mark has at
-- most WEBHOOK_HIGH / STREAM_LOW streams above theirs, so some of those looked at can go on.
local UNPARK_AT_ONCE, UNPARK_STREAMS = 500, 20

-- Adds to the undelivered bytes of stream `n`; true when a mark is passed now.
local function flow_add(base, run_key, n, webhook, bytes)
  local flow_key = base .. ':flow:' .. webhook
  local stream = redis.call('HINCRBY', run_key, 's' .. n .. ':bytes', bytes)
  local total = redis.call('HINCRBY', flow_key, 'bytes', bytes)
  redis.call('INCRBY', base .. ':undelivered_bytes', bytes)
  if stream > STREAM_HIGH then
    redis.call('HSET', run_key, 's' .. n .. ':over', 1)
  end
  if total > WEBHOOK_HIGH then
    redis.call('HSET', flow_key, 'over', 1)
  end
end

-- True while Redis has little memory left and deliveries can make room. `full` is set by the maintenance passes and
-- expires by itself.
local function store_full(base)
  return redis.call('EXISTS', base .. ':full') == 1
    and (tonumber(redis.call('GET', base .. ':undelivered_bytes')) or 0) > FLOOR
end

local function webhook_over(base, webhook)
  return redis.call('HEXISTS', base .. ':flow:' .. webhook, 'over') == 1
end

local function stream_over(run_key, n)
  return redis.call('HEXISTS', run_key, 's' .. n .. ':over') == 1
end

-- True when tasks that feed stream `n` should wait.
local function flow_over(base, run_key, n, webhook)
  return stream_over(run_key, n) or webhook_over(base, webhook) or store_full(base)
end

-- Parks a fetch task that is in no lane and not claimed.
local function park(base, webhook, run, n, lane, limit, entry)
  local parked = base .. ':flow:' .. webhook .. ':parked'
  redis.call('RPUSH', parked .. ':' .. run .. ':' .. n, lane .. ' ' .. limit .. ' ' .. entry)
  if redis.call('SADD', parked, run .. ' ' .. n) == 1 then
    note(base, base .. ':run:' .. run, 'waiting_for_receiver', { stream = n })
  end
  redis.call('SADD', base .. ':parked', webhook)
end

-- Hands up to `most` parked tasks of a stream back to their lane. Returns how many.
local function unpark_stream(base, parked, run, n, most)
  local list = parked .. ':' .. run .. ':' .. n
  local lane, limit, entries = nil, nil, {}
  for i, text in ipairs(redis.call('LPOP', list, most) or {}) do
    lane, limit, entries[i] = text:match('^(%S+) (%d+) (.*)$')
  end
  if lane then
    -- All tasks of a run are in the lane of its account.
    lane_push(base, 'fetches', lane, limit, entries, false)
  end
  if redis.call('EXISTS', list) == 0 then
    redis.call('SREM', parked, run .. ' ' .. n)
    local status = redis.call('HGET', base .. ':run:' .. run, 'status')
    if status == 'running' or status == 'rate_limited' then
      note(base, base .. ':run:' .. run, 'receiver_caught_up', { stream = n })
    end
  end
  return #entries
end

-- Hands up to `most` parked tasks of a webhook back, unless it or their stream is over its mark. Returns how many.
local function unpark(base, webhook, most)
  local parked, count = base .. ':flow:' .. webhook .. ':parked', 0
  if webhook_over(base, webhook) then
    return 0
  end
  for _, name in ipairs(redis.call('SRANDMEMBER', parked, UNPARK_STREAMS)) do
    local run, n = name:match('^(%S+) (%S+)$')
    if count < most and not stream_over(base .. ':run:' .. run, n) then
      count = count + unpark_stream(base, parked, run, n, most - count)
    end
  end
  if redis.call('EXISTS', parked) == 0 then
    redis.call('SREM', base .. ':parked', webhook)
  end
  return count
end

-- Takes away what was delivered; below the low marks parked tasks go on.
local function flow_remove(base, run_key, n, webhook, bytes)
  local flow_key = base .. ':flow:' .. webhook
  local stream = redis.call('HINCRBY', run_key, 's' .. n .. ':bytes', 0 - bytes)
  local total = redis.call('HINCRBY', flow_key, 'bytes', 0 - bytes)
  redis.call('DECRBY', base .. ':undelivered_bytes', bytes)
  if stream < STREAM_LOW then
    redis.call('HDEL', run_key, 's' .. n .. ':over')
  end
  if total < WEBHOOK_LOW then
    redis.call('HDEL', flow_key, 'over')
  end
  if total <= 0 then
    redis.call('DEL', flow_key)
  end
  if redis.call('EXISTS', flow_key .. ':parked') == 1 then
    unpark(base, webhook, UNPARK_AT_ONCE)
  end
end
