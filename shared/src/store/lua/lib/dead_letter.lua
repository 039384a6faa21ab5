-- Dead letters: events that were given up, kept with their bytes. Needs: index.
-- `dead_letter:<event>` is a hash; `dead:<webhook>` lists the events of a webhook, `account:<account>:dead` those that tell of an
-- account, in the order of their ids.
-- `cause`: `refused` (the receiver did not take it) or `broken` (it could not be made or sent, for a reason of ours).

-- Keeps one letter for `retention` ms. `account`: that it tells of, or nil; `fields`: names and values of its hash, in turn.
local function keep_dead_letter(base, webhook, event, retention, account, fields)
  local letter = base .. ':dead_letter:'
  redis.call('HSET', letter .. event, 'webhook', webhook, 'account', account or '', unpack(fields))
  redis.call('PEXPIRE', letter .. event, retention)
  list_kept(base .. ':dead:' .. webhook, letter, event, retention)
  if account then
    list_kept(base .. ':account:' .. account .. ':dead', letter, event, retention)
  end
end

-- Takes one letter of `webhook` away; false when there is none.
local function forget_dead_letter(base, webhook, event)
  local letter = base .. ':dead_letter:' .. event
  local of = redis.call('HMGET', letter, 'webhook', 'account')
  if of[1] ~= webhook then
    return false
  end
  redis.call('UNLINK', letter)
  redis.call('ZREM', base .. ':dead:' .. webhook, event)
  redis.call('ZREM', base .. ':account:' .. (of[2] or '') .. ':dead', event)
  return true
end
