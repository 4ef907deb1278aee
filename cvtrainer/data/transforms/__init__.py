"""Transforms: one vocabulary over two back ends, every draw a function of the sample's key."""

from cvtrainer.data.transforms.pipeline import Transforms, build_transforms

__all__ = ["Transforms", "build_transforms"]
