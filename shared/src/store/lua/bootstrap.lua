-- On a store without environments, makes one with one token.
--
-- KEYS[1] environments (hash: name -> JSON)   KEYS[2] the token   KEYS[3] tokens (hash: id -> hash of the secret)
-- ARGV[1] name   ARGV[2] environment as JSON   ARGV[3] token's id   ARGV[4] hash of its secret   ARGV[5] token as JSON
-- Returns "created", "present" (the token exists) or "refused" (there are environments, and it doesn't).
-- Invariants: however many programs start at once, one environment and one token are made. Cost: O(1).
local environments, token, tokens = KEYS[1], KEYS[2], KEYS[3]
local name, environment_json, token_id, hash, token_json = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if redis.call('EXISTS', token) == 1 then
  return 'present'
end
if redis.call('HLEN', environments) > 0 then
  return 'refused'
end
redis.call('HSET', environments, name, environment_json)
redis.call('SET', token, token_json)
redis.call('HSET', tokens, token_id, hash)
return 'created'
