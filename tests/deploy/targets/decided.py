"""What the small networks say of their pictures, and how far two answers are apart."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from cvtrainer.deploy.runtime.runner import Arrays
from cvtrainer.telling.detection import Detection
from cvtrainer.telling.segmentation import Segmentation
from tests.deploy.targets.small import pictures, program


@cache
def expected(kind: str) -> Arrays:
    """The program's own outputs."""
    whole = program(kind)
    with torch.no_grad():
        made = whole.exported.module()(pictures(12, seed=2))
    names = [port.name for port in whole.outputs]
    return {name: value.numpy() for name, value in zip(names, made, strict=True)}


def decisions(kind: str, outputs: Arrays) -> list[Any]:
    """What is said of each picture, comparable with ==; boxes in whole pixels."""
    if kind == "classifier":
        return [int(one) for one in outputs["output"].argmax(axis=1)]
    if kind == "segmenter":
        return [one.tolist() for one in Segmentation().decode(dict(outputs))["class_map"]]
    found = Detection(most=5, candidates=20, max_overlap=0.3).decode(dict(outputs))
    boxes = np.round(found["found_boxes"]).astype(int)
    return [
        sorted((int(one), *box) for one, box in zip(kinds, rows.tolist(), strict=True))
        for kinds, rows in zip(found["found_classes"], boxes, strict=True)
    ]


def decibels(mine: Arrays, theirs: Arrays, name: str) -> float:
    """Signal to noise of an output."""
    signal = mine[name] - mine[name].mean()
    noise = mine[name] - theirs[name]
    return float(10 * np.log10((signal**2).sum() / max(float((noise**2).sum()), 1e-12)))
