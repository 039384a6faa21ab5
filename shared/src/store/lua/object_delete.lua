-- Deletes an object softly, with what follows from that: it leaves its indexes and frees its name; its last state is kept
-- for a while, since runs still point to it.
-- KEYS 1 base, 2 the object, 3 its unique name (the object's own key when it has none), 4 the list of deleted ones of its kind,
--      5… the indexes it is listed in
-- ARGV 1 id, 2 its JSON as read, 3 its last JSON, 4 milliseconds to keep that, 5 environment, 6… effects
-- Returns `deleted`, `changed` (somebody else was faster: read again) or `missing`.
-- Invariants: as in object_create. Cost: O(indexes), and what the effects cost.
local base, object, name, deleted = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, before, after, keep_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local current = redis.call('GET', object)
if not current then
  return 'missing'
end
if current ~= before then
  return 'changed'
end
redis.call('SET', object, after, 'PX', keep_ms)
if name ~= object and redis.call('GET', name) == id then
  redis.call('DEL', name)
end
for i = 5, #KEYS do
  redis.call('ZREM', KEYS[i], id)
end
forget_expired(deleted, object:sub(1, #object - #id))
redis.call('ZADD', deleted, 0, id)
redis.call('PEXPIRE', deleted, keep_ms)
apply_effects(base, ARGV[5], ARGV, 6, now_ms(base))
return 'deleted'
