"""Samples as pictures for people: labels drawn on, many on a sheet."""

from cvtrainer.pictures.drawing.answered import Marks, answered
from cvtrainer.pictures.drawing.lettering import Lettering
from cvtrainer.pictures.drawing.panel import panel
from cvtrainer.pictures.drawing.sheet import Cell, sheet

__all__ = ["Cell", "Lettering", "Marks", "answered", "panel", "sheet"]
