-- What an account leaves behind beside its ended runs and dead letters: runs that weren't told to their end, its lane, its
-- watermarks, and the lists of all that.
-- KEYS 1 base
-- ARGV 1 environment, 2 account, 3 most runs, 4 most watermarks
-- Returns `done` or `more`.
local base, environment, account = KEYS[1], ARGV[1], ARGV[2]
local runs, jobs = base .. ':account:' .. account .. ':run', base .. ':watermark:' .. account
for _, run in ipairs(redis.call('SRANDMEMBER', runs, ARGV[3])) do
  drop_run(base, environment, run)
  redis.call('SREM', runs, run)
end
for _, job in ipairs(redis.call('SPOP', jobs, ARGV[4])) do
  redis.call('DEL', jobs .. ':' .. job)
end
drop_lane(base, 'fetches', account)
local of_account = base .. ':account:' .. account
redis.call('UNLINK', of_account .. ':ended', of_account .. ':dead', of_account .. ':webhook', base .. ':source:' .. account)
return redis.call('EXISTS', runs, jobs) > 0 and 'more' or 'done'
