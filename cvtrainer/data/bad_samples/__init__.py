"""Samples that cannot be used: what stands in for them, and where they are written down."""

from cvtrainer.data.bad_samples.ledger import Ledger, TooManyBad
from cvtrainer.data.bad_samples.quarantine import Quarantine, stamp_of
from cvtrainer.data.bad_samples.record import BadRecord, replacement

__all__ = ["BadRecord", "Ledger", "Quarantine", "TooManyBad", "replacement", "stamp_of"]
