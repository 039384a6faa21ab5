-- An environment uses its integration documents no more; those that nobody else uses go.
-- KEYS 1 base
-- ARGV 1 environment, 2 most documents
-- Returns `done` or `more`. Cost: O(documents).
local base, environment = KEYS[1], ARGV[1]
local mine = base .. ':environment:' .. environment .. ':document'
for _, hash in ipairs(redis.call('SPOP', mine, ARGV[2])) do
  local users = base .. ':document_users:' .. hash
  redis.call('SREM', users, environment)
  if redis.call('EXISTS', users) == 0 then
    redis.call('UNLINK', base .. ':document:' .. hash)
  end
end
return redis.call('EXISTS', mine) == 1 and 'more' or 'done'
