"""Putting saved weights into a network, with an exact account of what did not fit.

Strict by default: a shape that differs, a key that is missing or left over is an error that
names it. Prefixes that wrappers leave behind (`module.`, `_orig_mod.`) are taken off.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.ddp.pieces import cut_like
from cvtrainer.protocols import State

_PREFIXES = ("module.", "_orig_mod.")


def without_prefixes(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under the names the bare network uses."""
    cleaned: dict[str, Tensor] = {}
    for name, value in weights.items():
        changed = True
        while changed:
            changed = False
            for prefix in _PREFIXES:
                if name.startswith(prefix):
                    name, changed = name[len(prefix) :], True
        cleaned[name] = value
    return cleaned


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Load all of them or say in one line what does not fit."""
    given = without_prefixes(weights)
    own = network.state_dict()
    wrong = [
        f"{name} is {tuple(given[name].shape)}, the model has {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    missing = [name for name in own if name not in given]
    left_over = [name for name in given if name not in own]
    complaints = []
    if wrong:
        complaints.append(f"wrong shape: {_some(wrong)}")
    if missing:
        complaints.append(f"missing: {_some(missing)}")
    if left_over:
        complaints.append(f"unknown to the model: {_some(left_over)}")
    if complaints:
        raise UserError(
            f"{source}: the weights do not fit the model ({'; '.join(complaints)}); "
            "use the model they were trained with"
        )
    network.load_state_dict({name: cut_like(value, own[name]) for name, value in given.items()})


def _some(names: list[str], most: int = 3) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def weights_for_use(state: State, network: str = "model") -> Mapping[str, Tensor]:
    """Weights to evaluate or predict with: the averaged ones where training kept an average."""
    for hook in state.get("hooks", {}).values():
        averaged = hook.get("averaged_weights") if isinstance(hook, Mapping) else None
        if isinstance(averaged, Mapping) and network in averaged:
            found: Mapping[str, Tensor] = averaged[network]
            return found
    networks = state.get("networks")
    if isinstance(networks, Mapping) and network in networks:
        raw: Mapping[str, Tensor] = networks[network]
        return raw
    for key in ("state_dict", "model_state_dict", "model_state", "model"):
        if isinstance(state.get(key), Mapping):
            foreign: Mapping[str, Tensor] = state[key]
            return foreign
    if state and all(isinstance(value, Tensor) for value in state.values()):
        return state
    raise UserError(f"checkpoint: no weights of a network in it; it holds {', '.join(state)}")
