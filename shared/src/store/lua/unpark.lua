-- Hands parked fetch tasks back for webhooks that are below their mark; a safety net beside the settling of batches.
-- KEYS 1 base
-- ARGV 1 webhooks to look at, 2 most tasks in all
-- Returns how many tasks.
local base, most, count = KEYS[1], tonumber(ARGV[2]), 0
for _, webhook in ipairs(redis.call('SRANDMEMBER', base .. ':parked', ARGV[1])) do
  if count < most then
    count = count + unpark(base, webhook, math.min(UNPARK_AT_ONCE, most - count))
  end
end
return count
