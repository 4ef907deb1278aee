"""Numbers about an epoch, accumulated on the device from whole blocks of steps.

A meter says in `PRODUCES` which names it gives and in `HIGHER_IS_BETTER` which way they improve;
both are literals that can be read without importing anything. When blocks are cut and which
fields go into which parameter is decided by the engine.
"""

from __future__ import annotations

from cvtrainer.meters.accuracy import AccuracyMeter
from cvtrainer.meters.loss import LossMeter

__all__ = ["AccuracyMeter", "LossMeter"]
