-- Writes down that a token is revoked. One that went meanwhile, with its environment, stays away.
--
-- KEYS[1] the token
-- ARGV[1] JSON
-- Returns "revoked" or "missing". Cost: O(1).
if redis.call('SET', KEYS[1], ARGV[1], 'XX') then
  return 'revoked'
end
return 'missing'
