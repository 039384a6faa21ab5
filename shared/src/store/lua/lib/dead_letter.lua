-- Dead letters: events that were given up, kept with their bytes. Needs: index.
-- `dead_letter:<event>` is a hash, `dead:<webhook>` lists the events of a webhook in the order of their ids.
-- `cause`: `refused` (the receiver did not take it) or `broken` (it could not be made or sent, for a reason of ours).

-- Keeps one letter for `retention` ms. `fields`: names and values of its hash, in turn.
local function keep_dead_letter(base, webhook, event, retention, fields)
  local letter, letters = base .. ':dead_letter:', base .. ':dead:' .. webhook
  redis.call('HSET', letter .. event, 'webhook', webhook, unpack(fields))
  redis.call('PEXPIRE', letter .. event, retention)
  forget_expired(letters, letter)
  redis.call('ZADD', letters, 0, event)
  if redis.call('PTTL', letters) < retention then
    redis.call('PEXPIRE', letters, retention)
  end
end

-- Takes one letter of `webhook` away; false when there is none.
local function forget_dead_letter(base, webhook, event)
  local letter = base .. ':dead_letter:' .. event
  if redis.call('HGET', letter, 'webhook') ~= webhook then
    return false
  end
  redis.call('UNLINK', letter)
  redis.call('ZREM', base .. ':dead:' .. webhook, event)
  return true
end
