"""A run as plain data: load, compose, override, check, resolve, name, write. Never torch."""
