-- Deletes a dead letter. The counters of its run stay: it was not delivered.
-- KEYS 1 base
-- ARGV 1 webhook, 2 event
-- Returns `deleted` or `not_found`.
return forget_dead_letter(KEYS[1], ARGV[1], ARGV[2]) and 'deleted' or 'not_found'
