-- Makes or changes an entry of a `sync-job-run-state`.
-- KEYS 1 base
-- ARGV 1 `create` | `update`, 2 environment, 3 state key, 4 key, 5 value (JSON), 6 run or `-` (create), 7 id of this creation
--      (create), 8 most entries of a state key, 9 most state keys of an environment
-- Returns {`ok`, entry}; {`exists`}, {`full`}, {`missing`}: nothing is changed then. A creation that is repeated is `ok` again.
-- An entry is `<created ms> <updated ms> <run or -> <creation> <value>`.
local base, name, key, value = KEYS[1], ARGV[3], ARGV[4], ARGV[5]
local scope, now = ':' .. ARGV[2] .. ':' .. name, now_ms(base)
local entries, sizes = base .. ':state' .. scope, base .. ':state_sizes:' .. ARGV[2]
local old = redis.call('HGET', entries, key)
local created, updated, run, creation
if old then
  created, updated, run, creation = old:match('^(%d+) (%d+) (%S+) (%S+) ')
end
if ARGV[1] == 'update' then
  if not old then
    return { 'missing' }
  end
elseif old then
  if creation ~= ARGV[7] then
    return { 'exists' }
  end
  return { 'ok', old }
else
  local size = tonumber(redis.call('HGET', sizes, name)) or 0
  if size >= tonumber(ARGV[8]) or (size == 0 and redis.call('HLEN', sizes) >= tonumber(ARGV[9])) then
    return { 'full' }
  end
  created, run, creation = now, ARGV[6], ARGV[7]
  redis.call('HINCRBY', sizes, name, 1)
  redis.call('ZADD', base .. ':state_index' .. scope, 0, key)
end
local entry = created .. ' ' .. now .. ' ' .. run .. ' ' .. creation .. ' ' .. value
redis.call('HSET', entries, key, entry)
return { 'ok', entry }
