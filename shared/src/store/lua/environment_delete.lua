-- Deletes an environment: its name is free, its tokens are gone, and a task is queued that takes away all that is in it.
-- KEYS 1 base
-- ARGV 1 environment, 2 name, 3 its JSON as read, 4 in-flight limit of its lane, 5 task, 6 body of the task, 7 number of all
--      tokens as read, then for each token of the environment: id, hash
-- Returns `deleted`, `changed` (environments or tokens changed meanwhile: read again) or `missing`.
-- Invariants: no token of it works afterwards; it is deleted once. Cost: O(its tokens).
local base, environment, tokens = KEYS[1], ARGV[1], KEYS[1] .. ':tokens'
local current = redis.call('HGET', base .. ':environments', ARGV[2])
if not current then
  return 'missing'
end
if current ~= ARGV[3] or redis.call('HLEN', tokens) ~= tonumber(ARGV[7]) then
  return 'changed'
end
redis.call('HDEL', base .. ':environments', ARGV[2])
for i = 8, #ARGV, 2 do
  redis.call('DEL', base .. ':token:' .. ARGV[i + 1])
  redis.call('HDEL', tokens, ARGV[i])
end
lane_push(base, 'runs', environment, environment, ARGV[4], { entry_of(ARGV[5], 0, 0, now_ms(base), ARGV[6]) })
return 'deleted'
