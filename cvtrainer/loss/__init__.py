"""Losses whose arguments can be written in a config and whose targets may come in several forms.

Every loss of torch is usable by its own name or path; here is only what torch's cannot do from a
config: class weights as plain lists, and targets as indices or as one value per class.
"""

from __future__ import annotations

from cvtrainer.loss.binary import BCEWithLogitsLoss
from cvtrainer.loss.cross_entropy import CrossEntropyLoss

__all__ = ["BCEWithLogitsLoss", "CrossEntropyLoss"]
