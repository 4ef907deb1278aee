"""The pictures that a library has trained its published weights on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedInput:
    """Their size, and by what their numbers from 0 to 1 were normalised; weights of other inputs
    work worse, and nothing fails."""

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def input_of_timm(name: str) -> PublishedInput | None:
    """What timm tells of its network of that name; nothing of one from elsewhere."""
    import timm

    told = None if ":" in name else timm.models.get_pretrained_cfg(name)
    if told is None or not told.has_weights:
        return None
    _, height, width = told.input_size
    return PublishedInput(height, width, tuple(told.mean), tuple(told.std))


def input_of_torchvision(name: str, which: str | None) -> PublishedInput | None:
    """What torchvision's weights of that name are used with; detectors keep that to themselves."""
    from torchvision import models

    known = models.get_model_weights(name)
    if which not in (None, "DEFAULT", *(one.name for one in known)) or not len(known):
        return None
    told = known[which or "DEFAULT"].transforms()
    sizes = getattr(told, "crop_size", None) or getattr(told, "resize_size", None)
    if not sizes or not hasattr(told, "mean"):
        return None
    return PublishedInput(sizes[0], sizes[-1], tuple(told.mean), tuple(told.std))
