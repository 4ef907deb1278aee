"""cvtrainer: describe a vision model, its data and its target device in one file."""

__version__ = "0.1.0"
