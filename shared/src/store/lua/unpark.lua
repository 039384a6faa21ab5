-- Hands parked fetch tasks back for webhooks that are below their mark; a safety net beside the settling of batches.
-- KEYS 1 base
-- ARGV 1 webhooks to look at
-- Returns how many tasks.
local base, count = KEYS[1], 0
for _, webhook in ipairs(redis.call('SRANDMEMBER', base .. ':parked', ARGV[1])) do
  count = count + unpark(base, webhook)
end
return count
