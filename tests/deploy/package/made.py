"""A package made by hand: the mean colour of a picture decides its class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from cvtrainer.core.input_spec import InputSpec, Resize
from cvtrainer.deploy.contract import Contract, Port
from cvtrainer.deploy.package.archive import Source, write_archive
from cvtrainer.deploy.package.card import card_text
from cvtrainer.deploy.package.contents import CARD, CONFIG, LABELS, METRICS, WEIGHTS

ARTEFACT = "artefacts/model-fp32.onnx"
CLASSES = ("red", "green", "blue")
PROOF = {"proven": True, "samples": 3, "agreement": 1.0, "trained": {}, "artefact": {}}


def contract(**changes: Any) -> Contract:
    """Of pictures that become 8 x 8, with raw scores."""
    values: dict[str, Any] = {
        "target": "onnx",
        "precision": "fp32",
        "input": Port("x", "float32", (None, 3, 8, 8)),
        "outputs": (Port("output", "float32", (None, 3)),),
        "spec": InputSpec(steps=(Resize(size=(8, 8), shrink="smooth"),)),
        "reading": {"type": "classification", "kwargs": {"top": 2}},
        "classes": CLASSES,
        "proof": PROOF,
    }
    return Contract(**{**values, **changes})


def network() -> bytes:
    """Ten times the mean of each channel."""
    ten = numpy_helper.from_array(np.float32([10.0]), "ten")
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Mul", ["flat", "ten"], ["output"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    y = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "mean", [x], [y], [ten])
    opset = helper.make_opsetid("", 18)
    made: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()
    return made


def sources(**changes: Any) -> dict[str, Source]:
    """All parts, in their order."""
    told = contract(**changes)
    card = card_text("colours", {ARTEFACT: contract()}, {ARTEFACT: 1}, parameters=1)
    return {
        CARD: card.encode(),
        LABELS: json.dumps({"classes": CLASSES}).encode(),
        METRICS: json.dumps({"artefacts": {ARTEFACT: PROOF}}).encode(),
        CONFIG: b"stages: []\n",
        WEIGHTS: b"\x02\0\0\0\0\0\0\0{}",
        ARTEFACT: network(),
        f"{ARTEFACT}.contract.json": json.dumps(told.plain()).encode(),
    }


def write(path: Path, parts: dict[str, Source] | None = None, **told: Any) -> Path:
    """The package."""
    parts = sources() if parts is None else parts
    write_archive(path, parts, {"cvtrainer": "0", "artefacts": [ARTEFACT], **told})
    return path
