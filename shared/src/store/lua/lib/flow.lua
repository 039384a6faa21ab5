-- Backpressure: undelivered bytes and records by stream and by webhook, and the fetch tasks parked because of them.
-- Needs: clock, queue, timeline. A task parks while one of them is above HIGH, and goes on when both are below LOW.
-- A run with parked tasks has `parked`, the number of streams that have any, and `parked_since`.
-- Parked tasks are in a list by stream, `flow:<webhook>:parked:<run>:<n>`; those lists are named in the set
-- `flow:<webhook>:parked` as `<run> <n>`, webhooks that have any in the set `parked`.
local STREAM_MARKS = { high_bytes = 16 * 1024 * 1024, low_bytes = 8 * 1024 * 1024, high_records = 200000, low_records = 100000 }
local WEBHOOK_MARKS = { high_bytes = 64 * 1024 * 1024, low_bytes = 32 * 1024 * 1024, high_records = 800000, low_records = 400000 }
-- While less than this waits for delivery, deliveries make no room worth waiting for.
local FLOOR = 1024 * 1024
-- Parked tasks of one webhook handed back at a time, and streams looked at for them. A webhook below its mark has at
-- most 64 MiB / 8 MiB streams above theirs, so some of those looked at can go on.
local UNPARK_AT_ONCE, UNPARK_STREAMS = 500, 20

-- Adds to what waits, of a stream (`prefix` `s<n>:`) or of a webhook, and sets or clears its `over`. Returns the bytes.
local function flow_count(key, prefix, marks, bytes, records)
  local all_bytes = redis.call('HINCRBY', key, prefix .. 'bytes', bytes)
  local all_records = redis.call('HINCRBY', key, prefix .. 'records', records)
  if all_bytes <= 0 and all_records ~= 0 then
    -- Workers of before records were counted take off bytes only.
    redis.call('HDEL', key, prefix .. 'records')
    all_records = 0
  end
  if all_bytes > marks.high_bytes or all_records > marks.high_records then
    redis.call('HSET', key, prefix .. 'over', 1)
  elseif all_bytes < marks.low_bytes and all_records < marks.low_records then
    redis.call('HDEL', key, prefix .. 'over')
  end
  return all_bytes
end

-- Adds to what waits to be delivered of stream `n`.
local function flow_add(base, run_key, n, webhook, bytes, records)
  flow_count(run_key, 's' .. n .. ':', STREAM_MARKS, bytes, records)
  flow_count(base .. ':flow:' .. webhook, '', WEBHOOK_MARKS, bytes, records)
  redis.call('INCRBY', base .. ':undelivered_bytes', bytes)
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
    local run_key = base .. ':run:' .. run
    redis.call('HINCRBY', run_key, 'parked', 1)
    redis.call('HSETNX', run_key, 'parked_since', now_ms(base))
    note(base, run_key, 'waiting_for_receiver', { stream = n })
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
    local place = redis.call('HMGET', base .. ':run:' .. run, 'fetch_place', 'environment')
    lane_push(base, 'fetches', lane, place[1] or place[2], limit, entries)
  end
  if redis.call('EXISTS', list) == 0 then
    redis.call('SREM', parked, run .. ' ' .. n)
    local run_key = base .. ':run:' .. run
    local status = redis.call('HGET', run_key, 'status')
    if status and redis.call('HINCRBY', run_key, 'parked', -1) <= 0 then
      redis.call('HDEL', run_key, 'parked', 'parked_since')
    end
    if status == 'running' or status == 'rate_limited' then
      note(base, run_key, 'receiver_caught_up', { stream = n })
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
local function flow_remove(base, run_key, n, webhook, bytes, records)
  local flow_key = base .. ':flow:' .. webhook
  flow_count(run_key, 's' .. n .. ':', STREAM_MARKS, 0 - bytes, 0 - records)
  if flow_count(flow_key, '', WEBHOOK_MARKS, 0 - bytes, 0 - records) <= 0 then
    redis.call('DEL', flow_key)
  end
  redis.call('DECRBY', base .. ':undelivered_bytes', bytes)
  if redis.call('EXISTS', flow_key .. ':parked') == 1 then
    unpark(base, webhook, UNPARK_AT_ONCE)
  end
end
