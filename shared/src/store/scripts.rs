//! Typed calls of the Lua scripts.
