"""Measurements, each printing one table; they are programs, not part of the package."""
