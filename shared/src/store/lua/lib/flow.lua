-- Backpressure: undelivered bytes by stream and by webhook, and the fetch tasks parked because of them.
-- Needs: queue. Marks in bytes; a task parks above HIGH and goes on below LOW.
local STREAM_HIGH, STREAM_LOW = 16 * 1024 * 1024, 8 * 1024 * 1024
local WEBHOOK_HIGH, WEBHOOK_LOW = 64 * 1024 * 1024, 32 * 1024 * 1024
-- Parked tasks handed back by one script.
local UNPARK_AT_ONCE = 500

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

-- True while Redis has little memory left (`full` is set by the maintenance passes and expires by itself).
local function store_full(base)
  return redis.call('EXISTS', base .. ':full') == 1
end

-- True when tasks that feed stream `n` should wait.
local function flow_over(base, run_key, n, webhook)
  return redis.call('HGET', run_key, 's' .. n .. ':over') == '1'
    or redis.call('HGET', base .. ':flow:' .. webhook, 'over') == '1'
    or store_full(base)
end

-- Parks a fetch task that is in no lane and not claimed.
local function park(base, webhook, lane, limit, entry)
  redis.call('RPUSH', base .. ':flow:' .. webhook .. ':parked', lane .. ' ' .. limit .. ' ' .. entry)
  redis.call('SADD', base .. ':parked', webhook)
end

-- Hands parked tasks back to their lanes, unless the webhook is over its mark. Returns how many.
local function unpark(base, webhook)
  if redis.call('HGET', base .. ':flow:' .. webhook, 'over') == '1' then
    return 0
  end
  local parked = base .. ':flow:' .. webhook .. ':parked'
  local entries = redis.call('LPOP', parked, UNPARK_AT_ONCE)
  if not entries then
    redis.call('SREM', base .. ':parked', webhook)
    return 0
  end
  for _, text in ipairs(entries) do
    local lane, limit, entry = text:match('^(%S+) (%d+) (.*)$')
    lane_push(base, 'fetches', lane, limit, { entry }, false)
  end
  if redis.call('EXISTS', parked) == 0 then
    redis.call('SREM', base .. ':parked', webhook)
  end
  return #entries
end

-- Takes away what was delivered; below the low marks parked tasks go on.
local function flow_remove(base, run_key, n, webhook, bytes)
  local flow_key = base .. ':flow:' .. webhook
  local stream = redis.call('HINCRBY', run_key, 's' .. n .. ':bytes', 0 - bytes)
  local total = redis.call('HINCRBY', flow_key, 'bytes', 0 - bytes)
  redis.call('DECRBY', base .. ':undelivered_bytes', bytes)
  local released = false
  if stream < STREAM_LOW and redis.call('HDEL', run_key, 's' .. n .. ':over') == 1 then
    released = true
  end
  if total < WEBHOOK_LOW and redis.call('HDEL', flow_key, 'over') == 1 then
    released = true
  end
  if total <= 0 then
    redis.call('DEL', flow_key)
  end
  if released then
    unpark(base, webhook)
  end
end
