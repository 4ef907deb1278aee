"""What may stand between a backbone and a head.

Identity changes nothing, Conv changes the channels of a map, Linear pools a map and changes the
channels of the vector.
"""

from __future__ import annotations

from cvtrainer.models.adapters.conv import Conv
from cvtrainer.models.adapters.identity import Identity
from cvtrainer.models.adapters.linear import Linear
from cvtrainer.models.parts import Adapter

__all__ = ["Adapter", "Conv", "Identity", "Linear"]
