-- Stores an integration document under its hash, unless it is there, and notes who uses it.
-- KEYS 1 base
-- ARGV 1 hash, 2 document (JSON), 3 environment, or `bundled`
-- Returns `ok`. Invariants: a document is there as long as somebody uses it. Cost: O(1).
local document, users = KEYS[1] .. ':document:' .. ARGV[1], KEYS[1] .. ':document_users:' .. ARGV[1]
if redis.call('SET', document, ARGV[2], 'NX') == false and redis.call('EXISTS', users) == 0 then
  -- Stored before users were noted: nobody knows who else has it.
  redis.call('SADD', users, 'unknown')
end
redis.call('SADD', users, ARGV[3])
if ARGV[3] ~= 'bundled' then
  redis.call('SADD', KEYS[1] .. ':environment:' .. ARGV[3] .. ':document', ARGV[1])
end
return 'ok'
