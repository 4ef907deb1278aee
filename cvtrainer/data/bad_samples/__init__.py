"""Samples that cannot be used: what stands in for them, and where they are written down."""

from cvtrainer.data.bad_samples.record import BadRecord, replacement

__all__ = ["BadRecord", "replacement"]
