-- Sets how an environment takes turns and how many of its fetches may be in flight. Holds from its next turn on.
-- KEYS 1 base
-- ARGV 1 environment, 2 weight, 3 most fetches at once, or empty for any number
-- Returns nothing of interest. Invariant: an environment without settings of its own has no key.
-- Cost: O(fetches in flight), of all environments.
local MOST_COUNTED = 20000
local base, environment = KEYS[1], ARGV[1]
local key = base .. ':environment:' .. environment .. ':limits'
redis.call('DEL', key)
if ARGV[2] ~= '1' then
  redis.call('HSET', key, 'weight', ARGV[2])
end
if ARGV[3] ~= '' then
  redis.call('HSET', key, 'fetches', ARGV[3])
end
-- Workers of before limits leave behind what they take over from others; so count again.
local in_flight, counts = base .. ':fetches:in_flight', {}
for _, id in ipairs(redis.call('ZRANGE', base .. ':fetches:claimed', 0, MOST_COUNTED - 1)) do
  local place = redis.call('HGET', base .. ':fetches:task:' .. id, 'place')
  if place and place:match('^[^/]+') == environment then
    counts[place] = (counts[place] or 0) + 1
    if place ~= environment then
      counts[environment] = (counts[environment] or 0) + 1
    end
  end
end
redis.call('HDEL', in_flight, environment)
for place, count in pairs(counts) do
  redis.call('HSET', in_flight, place, count)
end
place_release(base, 'fetches', environment)
return 1
