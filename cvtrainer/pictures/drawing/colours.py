"""A colour for each class number: far apart, the same in every run."""

from __future__ import annotations

import colorsys

_GOLDEN = 0.61803398875

Colour = tuple[int, int, int]


def colour_of(number: int) -> Colour:
    """A strong colour; neighbours differ much."""
    hue = (0.02 + number * _GOLDEN) % 1.0
    value = (1.0, 0.78)[number // 5 % 2]
    saturation = (0.9, 0.6)[number // 10 % 2]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def ink_on(colour: Colour) -> Colour:
    """Black or white, whichever can be read on that colour."""
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return (0, 0, 0) if light > 140 else (255, 255, 255)
