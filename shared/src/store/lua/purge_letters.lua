-- Takes away some dead letters of a webhook, or those that tell of an account.
-- KEYS 1 base
-- ARGV 1 webhook, or account, 2 most letters
-- Returns `done`, or `more` when there are more. Cost: O(letters).
local base, of = KEYS[1], ARGV[1]
local index = base .. (of:sub(1, 3) == 'wh_' and ':dead:' .. of or ':account:' .. of .. ':dead')
for _, event in ipairs(redis.call('ZRANGE', index, 0, ARGV[2] - 1)) do
  local webhook = redis.call('HGET', base .. ':dead_letter:' .. event, 'webhook')
  if webhook then
    forget_dead_letter(base, webhook, event)
  end
  redis.call('ZREM', index, event)
end
return redis.call('EXISTS', index) == 1 and 'more' or 'done'
