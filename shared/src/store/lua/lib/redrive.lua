-- Redrives: dead letters of a webhook that are sent again. Needs: clock, queue, index, dead_letter.
-- `redrive:<redrive>` is a hash: `webhook`, `environment`, `filter` (JSON), `rate`, `total`, `status`, `delivered`, `failed`,
-- `cursor` (the last event that is dealt with), `current` (the one in work), `tries` (of that one, not accepted), `last_error`,
-- `created_at`, `finished_at`, `retention_ms`. `redrives:<webhook>` lists them in the order of their ids, `redriving:<webhook>`
-- is the running one, of which there is one at most. Its task is in the lane of the webhook.

-- Ends a running redrive, which is kept for its retention time from now on. A letter in flight is still counted.
local function redrive_end(base, redrive, status, reason, now)
  local key = base .. ':redrive:' .. redrive
  local state = redis.call('HMGET', key, 'webhook', 'retention_ms')
  local index, active, kept = base .. ':redrives:' .. state[1], base .. ':redriving:' .. state[1], tonumber(state[2])
  redis.call('HSET', key, 'status', status, 'finished_at', now)
  if reason ~= '' then
    redis.call('HSET', key, 'last_error', reason)
  end
  redis.call('PEXPIRE', key, kept)
  if redis.call('PTTL', index) < kept then
    redis.call('PEXPIRE', index, kept)
  end
  if redis.call('GET', active) == redrive then
    redis.call('DEL', active)
  end
end

-- One more attempt at a letter was made and not accepted.
local function letter_tried(base, event)
  local letter = base .. ':dead_letter:' .. event
  if redis.call('EXISTS', letter) == 1 then
    redis.call('HINCRBY', letter, 'attempts', 1)
  end
end

-- A letter stays, for this reason. False of one that is gone already.
local function letter_refused(base, event, cause, reason, status)
  local letter = base .. ':dead_letter:' .. event
  if redis.call('EXISTS', letter) == 0 then
    return false
  end
  redis.call('HSET', letter, 'cause', cause, 'reason', reason, 'status', status)
  return true
end

-- A letter was accepted after all: it is forgotten, and its run, if that is still kept, counts it as delivered and lists
-- it as such, `most` events at most. False of one that is gone already, which changes nothing.
local function letter_accepted(base, webhook, event, status, most, now)
  local letter = redis.call('HMGET', base .. ':dead_letter:' .. event, 'run', 'stream', 'records', 'event_type', 'first_seq',
    'attempts', 'created_at')
  if not forget_dead_letter(base, webhook, event) then
    return false
  end
  local run_key, n, records = base .. ':run:' .. letter[1], letter[2], tonumber(letter[3])
  if letter[1] == '' or redis.call('EXISTS', run_key) == 0 then
    return true
  end
  redis.call('HINCRBY', run_key, 'dead_events', -1)
  if n ~= 'c' and records > 0 then
    redis.call('HINCRBY', run_key, 'n' .. n .. ':dead', 0 - records)
    redis.call('HINCRBY', run_key, 'n' .. n .. ':delivered', records)
  end
  local line = table.concat({ event, letter[4], n, letter[5], records, letter[6] + 1, 'delivered', status, letter[7], now }, ' ')
  if redis.call('RPUSHX', run_key .. ':event', line) > most then
    redis.call('LPOP', run_key .. ':event')
    redis.call('HINCRBY', run_key, 'events_dropped', 1)
  end
  return true
end
