-- Deletes an object softly: it leaves its indexes and frees its name; its last
-- state is kept for a while, since runs still point to it.
--
-- KEYS[1] the object        KEYS[2] its unique name (the object's own key when it has none)
-- KEYS[3..] the indexes it is listed in
-- ARGV[1] the id   ARGV[2] its JSON as read   ARGV[3] its last JSON   ARGV[4] milliseconds to keep that
-- Returns "deleted", "changed" (somebody else was faster: read again) or "missing".
-- Invariants: as in object_create. Cost: O(indexes).
local object, name = KEYS[1], KEYS[2]
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
for i = 3, #KEYS do
  redis.call('ZREM', KEYS[i], id)
end
return 'deleted'
