"""Files that hold weights, whoever wrote them, and which networks' weights a saved state holds.

Read are our checkpoints, files of `torch.save` (plain weights, or weights under one of the usual
keys) and safetensors. Nothing in a file is ever run: a file with Python objects is refused.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import DamagedCheckpointError, read_checkpoint
from cvtrainer.protocols import State

Weights = Mapping[str, Tensor]

NAMELESS = ""
"""The name of weights that a file does not give to any network."""
_PLAIN = (
    *("state_dict", "model_state_dict", "model_state", "network_state_dict"),
    *("net", "network", "weights", "params"),
)
_AVERAGED = ("state_dict_ema", "ema_state_dict", "model_ema", "ema", "ema_model", "params_ema")
_LEGACY = b"\x80"


@dataclass(frozen=True)
class SavedWeights:
    """The weights of each network, and whose are an average."""

    networks: Mapping[str, Weights]
    averaged: frozenset[str] = frozenset()


def read_weights(path: Path) -> State:
    """What the file holds, as far as it is tensors and plain values."""
    if path.suffix == ".safetensors" and path.is_file():
        return _read_safetensors(path)
    try:
        return _read_legacy(path) if _is_legacy(path) else read_checkpoint(path)
    except (DamagedCheckpointError, pickle.UnpicklingError) as error:
        cause = error if isinstance(error, pickle.UnpicklingError) else error.__cause__
        foreign = re.search(r"GLOBAL (\S+)", str(cause))
        if not isinstance(cause, pickle.UnpicklingError) or foreign is None:
            raise
        raise UserError(
            f"it holds a Python object ({foreign[1]}), and loading one could run anything",
            where=str(path),
            todo="Save its weights alone: torch.save(model.state_dict(), FILE).",
        ) from error


def saved_weights(state: State, *, averaged: bool | None = None) -> SavedWeights:
    """The networks in a state; None takes an average where there is one."""
    networks = state.get("networks")
    if isinstance(networks, Mapping) and all(map(_is_weights, networks.values())):
        averages = _averages(state) if averaged is not False else {}
        found = SavedWeights({**networks, **averages}, frozenset(averages))
    else:
        found = _foreign(state, use_average=averaged is not False)
    if averaged and not found.averaged:
        raise UserError("there is no average of the weights in it (averaged: true)")
    return found


def weights_for_use(state: State, network: str = "model") -> Weights:
    """Weights to evaluate or predict with: the averaged ones where training kept an average."""
    found = saved_weights(state).networks
    for name in (network, NAMELESS):
        if name in found:
            return found[name]
    if len(found) == 1:
        return next(iter(found.values()))
    raise UserError(f"checkpoint: no weights of {network!r} in it; it holds {', '.join(found)}")


def _averages(state: State) -> dict[str, Weights]:
    found: dict[str, Weights] = {}
    for hook in state.get("hooks", {}).values():
        kept = hook.get("averaged_weights") if isinstance(hook, Mapping) else None
        found = {**(kept if isinstance(kept, Mapping) else {}), **found}
    return found


def _foreign(state: State, *, use_average: bool) -> SavedWeights:
    """Weights at the top, or under one of the keys that programs use, or a set per network."""
    if _is_weights(state):
        return SavedWeights({NAMELESS: state})
    sets = {str(key): value for key, value in state.items() if _is_weights(value)}
    averages = {key: sets.pop(key) for key in _AVERAGED if key in sets}
    networks = {NAMELESS if key in _PLAIN else key: value for key, value in sets.items()}
    if averages and (use_average or not networks):
        networks.pop("model", None)
        networks = {**networks, NAMELESS: next(iter(averages.values()))}
        return SavedWeights(networks, frozenset([NAMELESS]))
    if not networks:
        keys = ", ".join(map(str, state)) or "nothing"
        raise UserError(f"checkpoint: no weights of a network in it; it holds {keys}")
    return SavedWeights(networks)


def _is_weights(value: Any) -> bool:
    """Tensors under names; what a module saves besides (`_extra_state`) may be anything."""
    return (
        isinstance(value, Mapping)
        and any(isinstance(one, Tensor) for one in value.values())
        and all(
            isinstance(name, str) and (isinstance(one, Tensor) or name.endswith("_extra_state"))
            for name, one in value.items()
        )
    )


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise DamagedCheckpointError(
            f"{path}: this is not a readable safetensors file ({error})"
        ) from error


def _is_legacy(path: Path) -> bool:
    """Whether an old `torch.save` wrote it, which made no archives."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(1) == _LEGACY


def _read_legacy(path: Path) -> State:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise
    except Exception as error:
        raise DamagedCheckpointError(f"{path}: this is not a readable checkpoint") from error
    if not isinstance(state, dict):
        raise UserError(f"{path}: it holds a {type(state).__name__}, not a mapping of states")
    return state
