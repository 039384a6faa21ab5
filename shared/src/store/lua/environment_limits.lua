-- Sets how an environment takes turns and how many of its fetches may be in flight. Holds from its next turn on.
-- KEYS 1 base
-- ARGV 1 environment, 2 weight, 3 most fetches at once, or empty for any number
-- Returns nothing of interest. Invariant: an environment without settings of its own has no key.
local base, environment = KEYS[1], ARGV[1]
local key = base .. ':environment:' .. environment .. ':limits'
redis.call('DEL', key)
if ARGV[2] ~= '1' then
  redis.call('HSET', key, 'weight', ARGV[2])
end
if ARGV[3] ~= '' then
  redis.call('HSET', key, 'fetches', ARGV[3])
end
place_release(base, 'fetches', environment)
return 1
