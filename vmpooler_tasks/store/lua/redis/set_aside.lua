#!lua flags=allow-oom
-- Sets aside those keys of this project that have another type than they must have: redis/type_guard.lua, a part of every
-- script, has done so when this script starts.
-- KEYS   1…: keys
-- ARGV   none
-- RETURN how many were set aside
return set_aside_count
