-- Cancels a running redrive. A letter that is being sent is still settled; its task ends with that, or as it is met.
-- KEYS 1 base
-- ARGV 1 redrive, 2 webhook
-- Returns `cancelled`, `ended` (it had ended before; nothing changes) or `not_found`.
local base, id = KEYS[1], ARGV[1]
local state = redis.call('HMGET', base .. ':redrive:' .. id, 'status', 'webhook')
if not state[1] or state[2] ~= ARGV[2] then
  return 'not_found'
end
if state[1] ~= 'running' then
  return 'ended'
end
redrive_end(base, id, 'cancelled', '', now_ms(base))
local task = id .. '.redrive'
if redis.call('ZREM', base .. ':deliveries:delayed', task) == 1 then
  redis.call('DEL', base .. ':deliveries:task:' .. task)
end
return 'cancelled'
