"""What is inside a checkpoint: where it stands, networks, optimizers, hooks, metrics, its size.

Files of other programs are shown as far as they hold weights. A damaged file is an error that
names it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import followed
from cvtrainer.engine.checkpoint_file import has_checksum
from cvtrainer.engine.weight_files import NAMELESS, read_weights, saved_weights
from cvtrainer.protocols import State

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass
class Network:
    """One network's weights; statistics of normalisation layers are no parameters."""

    parameters: int
    tensors: int
    dtypes: dict[str, int]
    averaged: bool
    """Whether an average of it is kept beside."""


@dataclass
class OptimizerState:
    """What an optimizer keeps; `lr` of each of its groups."""

    lr: list[float]
    parameters: int
    bytes: int


@dataclass
class Content:
    """All of it as plain values."""

    path: str
    bytes: int
    checksum: bool
    """Whether the file has one (then it is right); files of other programs have none."""
    stage: str | None = None
    run_id: str | None = None
    run_path: str | None = None
    epoch: int | None = None
    step: int | None = None
    position: dict[str, Any] = field(default_factory=dict)
    networks: dict[str, Network] = field(default_factory=dict)
    optimizers: dict[str, OptimizerState] = field(default_factory=dict)
    hooks: dict[str, int] = field(default_factory=dict)
    """Bytes of tensors in each hook's state."""
    metrics: dict[str, float] = field(default_factory=dict)
    classes: int | None = None
    others: list[str] = field(default_factory=list)
    """What else stands at the top."""

    def as_plain(self) -> dict[str, Any]:
        return asdict(self)


_SHOWN = (
    *("format", "stage", "run_id", "run_path", "clock", "networks", "optimizers", "hooks"),
    *("metrics", "classes"),
)


def show(path: str | Path) -> Content:
    """Read it whole, so that it is also checked."""
    place = followed(Path(path))
    state = read_weights(place)
    clock = _mapping(state.get("clock"))
    classes = state.get("classes")
    return Content(
        path=str(place),
        bytes=size_of(place),
        checksum=place.is_dir() or (place.suffix != ".safetensors" and has_checksum(place)),
        stage=_text(state.get("stage")),
        run_id=_text(state.get("run_id")),
        run_path=_text(state.get("run_path")),
        epoch=clock.get("epoch"),
        step=clock.get("step"),
        position=dict(clock),
        networks=_networks(state),
        optimizers={
            str(name): _optimizer(one) for name, one in _mapping(state.get("optimizers")).items()
        },
        hooks={str(name): bytes_in(one) for name, one in _mapping(state.get("hooks")).items()},
        metrics=dict(_mapping(state.get("metrics"))),
        classes=len(classes) if isinstance(classes, Mapping | list | tuple) else None,
        others=[str(key) for key in state if key not in _SHOWN],
    )


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    if path.is_dir():
        return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    return path.stat().st_size


def bytes_in(value: Any) -> int:
    """Bytes of all tensors in a state."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(map(bytes_in, value.values()))
    return sum(map(bytes_in, value)) if isinstance(value, list | tuple) else 0


def _networks(state: State) -> dict[str, Network]:
    try:
        found = saved_weights(state, averaged=False).networks
    except UserError:  # a state without weights is shown as well
        return {}
    averaged = saved_weights(state).averaged
    networks = {}
    for name, weights in found.items():
        tensors = {key: one for key, one in weights.items() if isinstance(one, Tensor)}
        counted = [one.numel() for key, one in tensors.items() if not key.endswith(_STATISTICS)]
        kinds = Counter(str(one.dtype).removeprefix("torch.") for one in tensors.values())
        networks[name or "model"] = Network(
            sum(counted), len(tensors), dict(kinds), name in averaged or NAMELESS in averaged
        )
    return networks


def _optimizer(state: Any) -> OptimizerState:
    groups = _mapping(state).get("param_groups") or []
    return OptimizerState(
        lr=[float(group["lr"]) for group in groups if "lr" in group],
        parameters=sum(len(group.get("params", ())) for group in groups),
        bytes=bytes_in(state),
    )


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
