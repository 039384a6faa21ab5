-- Takes away some runs of an environment, whatever their state, or of an account that were told to their end.
-- KEYS 1 base
-- ARGV 1 environment, 2 account (empty: all of the environment), 3 most runs
-- Returns `done`, or `more` when there are more.
-- Invariants: with an account, what is still to be fetched or delivered stays. Cost: O(runs, and what hangs on them).
local base, environment, account = KEYS[1], ARGV[1], ARGV[2]
local all = base .. ':environment:' .. environment .. ':run'
local index = account == '' and all or base .. ':account:' .. account .. ':ended'
for _, run in ipairs(redis.call('ZRANGE', index, 0, ARGV[3] - 1)) do
  if account == '' then
    drop_run(base, environment, run)
  else
    run_forget(base .. ':run:' .. run)
    redis.call('ZREM', all, run)
    redis.call('ZREM', index, run)
  end
end
return redis.call('EXISTS', index) == 1 and 'more' or 'done'
