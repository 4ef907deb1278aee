"""What may stand between a backbone and a head.

Identity changes nothing, Conv changes the channels of a map, Linear pools a map and changes the
channels of the vector. FPN, PAN and the U-Net decoder take maps of several sizes.
"""

from __future__ import annotations

from cvtrainer.models.adapters.conv import Conv
from cvtrainer.models.adapters.identity import Identity
from cvtrainer.models.adapters.linear import Linear
from cvtrainer.models.adapters.pyramids import FPN, PAN, UNetDecoder
from cvtrainer.models.parts import Adapter

__all__ = ["FPN", "PAN", "Adapter", "Conv", "Identity", "Linear", "UNetDecoder"]
