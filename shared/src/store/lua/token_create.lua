-- Stores a token under the hash of its secret, and its id beside it.
--
-- KEYS[1] the token   KEYS[2] tokens (hash: id -> hash of the secret)
-- ARGV[1] id   ARGV[2] hash of the secret   ARGV[3] JSON
-- Returns "created" or "existed". Cost: O(1).
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 'existed'
end
redis.call('SET', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 'created'
