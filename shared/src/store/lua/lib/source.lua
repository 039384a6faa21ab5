-- How the source of an account is doing. Needs: queue.
-- `source:<account>` is there while it fails (no connection, no answer in time, a 5xx): `failures` in a row, `failing_since`,
-- `pauses` made for it, `paused_until`. After LEFT_ALONE_AFTER failures in a row it is left alone: the account's lane is blocked, for longer
-- each time, and what fails between two pauses counts no attempt, so that an outage doesn't use up what waits. An answer ends
-- it, and after LONGEST_OUTAGE attempts count again: what is gone for good is given up.
local LEFT_ALONE_AFTER = 20
local FIRST_PAUSE, LONGEST_PAUSE = 1000, 60000
local LONGEST_OUTAGE = 1800 * 1000
-- Failures further apart than this are not one outage, ms.
local FAILURES_KEPT = 2 * LONGEST_OUTAGE

-- Counts a failure. Returns whether it counts as an attempt of its task, and the length of the pause that it begins, ms, or 0.
local function source_failed(base, account, now)
  local key = base .. ':source:' .. account
  local failures = redis.call('HINCRBY', key, 'failures', 1)
  redis.call('HSETNX', key, 'failing_since', now)
  redis.call('PEXPIRE', key, FAILURES_KEPT)
  local since = tonumber(redis.call('HGET', key, 'failing_since'))
  if failures < LEFT_ALONE_AFTER or now - since >= LONGEST_OUTAGE then
    return true, 0
  end
  -- What was under way when the pause began says nothing new.
  if (tonumber(redis.call('HGET', key, 'paused_until')) or 0) > now then
    return false, 0
  end
  local pauses = redis.call('HINCRBY', key, 'pauses', 1)
  local pause = math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ^ math.min(pauses, 16))
  redis.call('HSET', key, 'paused_until', now + pause)
  lane_block(base, 'fetches', account, now + pause)
  return false, pause
end

-- The source has answered.
local function source_answered(base, account)
  redis.call('DEL', base .. ':source:' .. account)
end
