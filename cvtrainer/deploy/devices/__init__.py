"""Devices as files: what they have room for, how fast they count, and who says so."""
