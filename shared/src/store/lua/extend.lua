-- Extends the leases of tasks in work.
-- KEYS 1 base
-- ARGV 1 queue, 2 lease ms, then for each task: id, token
-- Returns the ids whose lease is no longer the caller's.
local base, queue, lease_ms = KEYS[1], ARGV[1], tonumber(ARGV[2])
local ends, lost = now_ms(base) + lease_ms, {}
for i = 3, #ARGV, 2 do
  if redis.call('HGET', base .. ':' .. queue .. ':task:' .. ARGV[i], 'token') == ARGV[i + 1] then
    redis.call('ZADD', base .. ':' .. queue .. ':claimed', 'XX', ends, ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
