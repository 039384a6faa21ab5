-- Whether fetches that feed a stream should wait.
-- KEYS 1 base
-- ARGV 1 run, 2 node, 3 webhook
-- Returns 1 or 0.
return flow_over(KEYS[1], KEYS[1] .. ':run:' .. ARGV[1], ARGV[2], ARGV[3]) and 1 or 0
