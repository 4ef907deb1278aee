"""Samples as pictures for people: labels drawn on, many on a sheet."""

from cvtrainer.data.drawing.answered import Marks, answered
from cvtrainer.data.drawing.lettering import Lettering
from cvtrainer.data.drawing.panel import panel
from cvtrainer.data.drawing.sheet import Cell, sheet

__all__ = ["Cell", "Lettering", "Marks", "answered", "panel", "sheet"]
