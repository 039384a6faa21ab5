-- Does nothing: whoever can't carry out steps (a replica, a Redis that loads its file or can't write it) refuses this one too.
-- KEYS 1 base
-- Returns 1. Not flagged as one that writes nothing, so that it is refused like those that do.
return 1
