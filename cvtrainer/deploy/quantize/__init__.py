"""A float program becomes one of 8-bit numbers: ranges found, operators marked, rounding placed."""
