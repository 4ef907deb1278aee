"""A small world of generated pictures: shapes on textured ground, with all their labels.

For examples, tests and first steps without a download. The same seed writes the same files. What
a picture shows is told by form alone: colour, area and place say nothing about the class.
"""

from cvtrainer.data.picture_world.cifar_format import tiny_cifar10, write_tiny_cifar10
from cvtrainer.data.picture_world.drawn import LOOKS, PARTS, drawn_world, instance_masks
from cvtrainer.data.picture_world.scenes import CALM, LIVELY, Look, Picture, draw_picture
from cvtrainer.data.picture_world.shapes import ALL_SHAPES, CLASSES, MARKS
from cvtrainer.data.picture_world.writer import write_picture_world

__all__ = [
    "ALL_SHAPES",
    "CALM",
    "CLASSES",
    "LIVELY",
    "LOOKS",
    "MARKS",
    "PARTS",
    "Look",
    "Picture",
    "draw_picture",
    "drawn_world",
    "instance_masks",
    "tiny_cifar10",
    "write_picture_world",
    "write_tiny_cifar10",
]
