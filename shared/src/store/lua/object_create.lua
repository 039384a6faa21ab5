-- Stores a new object, unless it is there already or its unique name is taken.
--
-- KEYS[1] the object        KEYS[2] its unique name (the object's own key when it has none)
-- KEYS[3..] the indexes it is listed in
-- ARGV[1] the id            ARGV[2] the object as JSON
-- Returns {"created"}, {"existed", json} for the same id again, or {"taken", id of the holder}.
-- Invariants: an object is in all of its indexes or in none; a name points to a live object.
-- Cost: O(indexes).
local object, name = KEYS[1], KEYS[2]
local id, json = ARGV[1], ARGV[2]

local existing = redis.call('GET', object)
if existing then
  return {'existed', existing}
end
if name ~= object then
  local holder = redis.call('GET', name)
  if holder then
    return {'taken', holder}
  end
  redis.call('SET', name, id)
end
redis.call('SET', object, json)
for i = 3, #KEYS do
  redis.call('ZADD', KEYS[i], 0, id)
end
return {'created'}
