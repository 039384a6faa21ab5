-- Claims cron triggers that are due: whoever gets them settles each with cron_fire or cron_fail; if that one dies, they are
-- due again when the lease ends.
-- KEYS 1 base
-- ARGV 1 most triggers, 2 lease ms
-- Returns {now ms, then for each trigger: id, environment, due ms}.
-- Cost: O(log of all triggers), and what is claimed.
local base = KEYS[1]
local now = now_ms(base)
local reply = { now }
for _, id in ipairs(redis.call('ZRANGEBYSCORE', base .. ':cron', '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local state = redis.call('HMGET', base .. ':cron:' .. id, 'environment', 'due')
  if state[1] and state[2] then
    redis.call('ZADD', base .. ':cron', now + tonumber(ARGV[2]), id)
    local at = #reply
    reply[at + 1], reply[at + 2], reply[at + 3] = id, state[1], state[2]
  else
    redis.call('ZREM', base .. ':cron', id)
  end
end
return reply
