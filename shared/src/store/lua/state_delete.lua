-- Removes an entry of a `sync-job-run-state`; the last one takes its state key with it.
-- KEYS 1 base
-- ARGV 1 environment, 2 state key, 3 key
-- Returns {`ok`, the entry as it was} or {`missing`}.
local base, name, key = KEYS[1], ARGV[2], ARGV[3]
local scope = ':' .. ARGV[1] .. ':' .. name
local old = redis.call('HGET', base .. ':state' .. scope, key)
if not old then
  return { 'missing' }
end
redis.call('HDEL', base .. ':state' .. scope, key)
redis.call('ZREM', base .. ':state_index' .. scope, key)
if redis.call('HINCRBY', base .. ':state_sizes:' .. ARGV[1], name, -1) <= 0 then
  redis.call('HDEL', base .. ':state_sizes:' .. ARGV[1], name)
end
return { 'ok', old }
