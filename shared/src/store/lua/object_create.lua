-- Stores a new object with what follows from it, unless it is there already or its unique name is taken.
-- KEYS 1 base, 2 the object, 3 its unique name (the object's own key when it has none), 4… the indexes it is listed in
-- ARGV 1 id, 2 the object as JSON, 3 environment, 4… effects
-- Returns {`created`}, {`existed`, json} for the same id again, or {`taken`, id of the holder}.
-- Invariants: an object is in all of its indexes or in none; a name points to a live object; effects happen once.
-- Cost: O(indexes), and what the effects cost.
local base, object, name = KEYS[1], KEYS[2], KEYS[3]
local id, json = ARGV[1], ARGV[2]

local existing = redis.call('GET', object)
if existing then
  return { 'existed', existing }
end
if name ~= object then
  local holder = redis.call('GET', name)
  if holder then
    return { 'taken', holder }
  end
  redis.call('SET', name, id)
end
redis.call('SET', object, json)
for i = 4, #KEYS do
  redis.call('ZADD', KEYS[i], 0, id)
end
apply_effects(base, ARGV[3], ARGV, 4, now_ms(base))
return { 'created' }
