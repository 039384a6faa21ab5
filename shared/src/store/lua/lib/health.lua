-- How the receiver of a webhook is doing. Needs: queue, pace.
-- `health:<webhook>` is there while deliveries fail: `failures` in a row, `failing_since`, `failed_at` (the last one), `probes` (failed
-- ones since the circuit opened). The circuit opens after OPEN_AFTER failures in a row: the webhook's lane is blocked, for
-- longer each time, and lets one task out at a time (`circuit` of the lane), so that one real delivery probes the
-- receiver. Whatever waits costs one timer. A success closes the circuit.
-- `released:<webhook>` is when it was last switched on, or got another target: failures before that say nothing of it now.
-- `pace:<webhook>` is when the next request may be made, in microseconds, while the webhook's rate is limited.
local OPEN_AFTER = 5
-- Between two probes at most, ms, so that a receiver that is back is found soon.
local MOST_PROBE_WAIT = 300000
-- Failures further apart than this are not one outage, ms. Longer than the longest Retry-After.
local ONE_OUTAGE = 48 * 3600 * 1000
-- How long that is remembered, ms: no batch is tried for longer than a week.
local RELEASE_KEPT = 8 * 24 * 3600 * 1000
-- Requests that a limited rate lets through early, in microseconds of it.
local PACE_SLACK = 100000

-- Counts a failure; `counts`: towards the circuit, too. Returns failures in a row and ms since the first of them.
local function health_failed(base, webhook, counts, now)
  local key = base .. ':health:' .. webhook
  local last = tonumber(redis.call('HGET', key, 'failed_at'))
  if not last or now - last > ONE_OUTAGE then
    redis.call('DEL', key)
    redis.call('HSET', key, 'failing_since', now)
  end
  redis.call('HSET', key, 'failed_at', now)
  redis.call('PEXPIRE', key, ONE_OUTAGE)
  local failures = redis.call('HINCRBY', key, 'failures', counts and 1 or 0)
  return failures, math.max(0, now - tonumber(redis.call('HGET', key, 'failing_since')))
end

-- Opens the circuit, or holds it open after a probe that failed, once there were enough failures. Half of the wait is
-- random, so that webhooks of one dead host don't probe it together. Returns whether it is open, and whether since now.
local function circuit_open(base, webhook, failures, first_ms, max_ms, random, now)
  local lane_key = base .. ':deliveries:lane:' .. webhook
  if failures < OPEN_AFTER then
    return false, false
  end
  local opened = redis.call('HEXISTS', lane_key, 'circuit') == 0
  -- What was under way when the circuit opened says nothing new.
  if (tonumber(redis.call('HGET', lane_key, 'circuit_until')) or 0) <= now then
    local probes = redis.call('HINCRBY', base .. ':health:' .. webhook, 'probes', 1)
    local longest = math.min(max_ms, MOST_PROBE_WAIT, first_ms * 2 ^ math.min(probes, 32))
    local free_at = now + math.max(1, math.floor(longest * (1 + random) / 2))
    redis.call('HSET', lane_key, 'circuit', 1, 'circuit_until', free_at)
    lane_block(base, 'deliveries', webhook, free_at)
  end
  return true, opened
end

-- Ends the block of a lane.
local function lane_unblock(base, webhook)
  redis.call('HDEL', base .. ':deliveries:lane:' .. webhook, 'blocked_until')
  redis.call('ZREM', base .. ':deliveries:blocked', webhook)
end

-- The receiver took something: the circuit is closed, what it asked for itself still holds.
local function health_ok(base, webhook)
  redis.call('DEL', base .. ':health:' .. webhook)
  -- The lane outlives the failures, which expire.
  local lane_key = base .. ':deliveries:lane:' .. webhook
  local lane = redis.call('HMGET', lane_key, 'circuit', 'circuit_until', 'blocked_until')
  if lane[1] then
    redis.call('HDEL', lane_key, 'circuit', 'circuit_until')
    if lane[3] and lane[3] == lane[2] then
      lane_unblock(base, webhook)
    end
    lane_offer(base, 'deliveries', webhook)
  end
end

-- A webhook that was changed so that it is worth trying at once.
local function release_webhook(base, webhook, now)
  redis.call('SET', base .. ':released:' .. webhook, now, 'PX', RELEASE_KEPT)
  redis.call('DEL', base .. ':health:' .. webhook, base .. ':pace:' .. webhook)
  redis.call('HDEL', base .. ':deliveries:lane:' .. webhook, 'circuit', 'circuit_until')
  lane_unblock(base, webhook)
  lane_offer(base, 'deliveries', webhook)
end

-- How long workers go by their copy of a webhook, ms (`OBJECT_TTL` in worker/src/context.rs).
local COPY_KEPT = 1000

-- Leaves a receiver alone as long as it asked in its answer to a request that took `elapsed` ms. One from before the webhook
-- was changed may have come from another receiver. Returns whether it does.
local function leave_alone(base, webhook, pause, elapsed, now)
  local released = tonumber(redis.call('GET', base .. ':released:' .. webhook)) or 0
  if now - elapsed - COPY_KEPT <= released then
    return false
  end
  lane_block(base, 'deliveries', webhook, now + pause)
  return true
end

-- Takes leave for one request now; else gives the time from which there is leave, ms. `per_second` 0: no limit.
local function pace(base, webhook, per_second, now)
  if per_second == 0 then
    return nil
  end
  local gap = 1000000 / per_second
  return take_leave(base .. ':pace:' .. webhook, gap, gap < PACE_SLACK and PACE_SLACK or 0, now)
end

-- Whether the receiver is left alone: it asked for a pause, or its circuit is open. A task that is at work then is done with
-- what it has in flight.
local function rests(base, webhook, now)
  return (tonumber(redis.call('HGET', base .. ':deliveries:lane:' .. webhook, 'blocked_until')) or 0) > now
end

-- Whether a claimed task may send a batch now. If not, the task waits for the webhook's pace, unless it has others in flight:
-- at the end of its lane, since a rate may let one request through at a time, and its streams take turns.
local function paced(base, webhook, id, task, per_second, in_flight, now)
  local free_at = pace(base, webhook, per_second, now)
  if free_at and not in_flight then
    lane_block(base, 'deliveries', webhook, free_at)
    task_return(base, 'deliveries', id, task, 0, task.rescues, task.body, now, true)
  end
  return not free_at
end
