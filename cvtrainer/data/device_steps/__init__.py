"""What happens to a batch on its device: normalisation and augmentation."""

from cvtrainer.data.device_steps.color import ColorJitter, Normalize, RandomErasing
from cvtrainer.data.device_steps.device_step import DRAW_SEEDS, DeviceStep, DeviceSteps
from cvtrainer.data.device_steps.draws import Draws
from cvtrainer.data.device_steps.flips import RandomHorizontalFlip, RandomVerticalFlip
from cvtrainer.data.device_steps.shifts import RandomShift

__all__ = [
    "DRAW_SEEDS",
    "ColorJitter",
    "DeviceStep",
    "DeviceSteps",
    "Draws",
    "Normalize",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomShift",
    "RandomVerticalFlip",
]
