-- Lists of ids whose objects expire by themselves: each new id takes away the two oldest ones that are gone, so that a
-- list is never longer than what is kept and nothing has to walk it. Needs: nothing.
local function forget_expired(index, prefix)
  for _, id in ipairs(redis.call('ZRANGE', index, 0, 1)) do
    if redis.call('EXISTS', prefix .. id) == 0 then
      redis.call('ZREM', index, id)
    end
  end
end

-- Adds an id whose object is kept for `kept` ms from now on; the list expires with its last one.
local function list_kept(index, prefix, id, kept)
  forget_expired(index, prefix)
  redis.call('ZADD', index, 0, id)
  if redis.call('PTTL', index) < kept then
    redis.call('PEXPIRE', index, kept)
  end
end
