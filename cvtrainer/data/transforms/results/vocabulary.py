"""The transforms on `results`, by the names that configs use.

Their constructors are the schema of the config.
"""

from cvtrainer.data.transforms.results.color import RandomColorJitter
from cvtrainer.data.transforms.results.geometry import RandomFlip, Resize

__all__ = ["RandomColorJitter", "RandomFlip", "Resize"]
