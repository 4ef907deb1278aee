"""Which parameters go into which group of an optimizer, and what the group is told.

By part (a rate per named part), by kind (weights, weights of norm layers, biases) and by depth
(layer decay). Each parameter is in exactly one group; frozen ones are in none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest

DEFAULT_GROUP = "default"
Kind = Literal["weight", "norm", "bias"]

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)
_NUMBERED = re.compile(r"(?:^|.*?\.)\d+(?=\.)")
_WHERE = "optimizer.groups"


@dataclass(frozen=True)
class Grouping:
    """`no_decay` names kinds without weight decay: norm, bias. Each gets groups of its own.

    `layer_decay` multiplies the rate once for every layer that lies between a layer and the output.
    `bias_lr` is a factor on the rate of biases.
    """

    layer_decay: float | None = None
    no_decay: Literal["norm", "bias"] | Sequence[Literal["norm", "bias"]] = ()
    bias_lr: float | None = None

    @property
    def by_kind(self) -> bool:
        return bool(self.no_decay) or self.bias_lr is not None


def read_grouping(given: Mapping[str, Any] | None) -> Grouping:
    """As a config writes it."""
    known = [field.name for field in fields(Grouping)]
    words = dict(given or {})
    for word in words:
        if word not in known:
            near = nearest(word, known)
            todo = f"Did you mean {near}?" if near else f"It takes {', '.join(known)}."
            raise UserError(f"takes no {word!r}", where=_WHERE, todo=todo)
    kinds = words.get("no_decay") or ()
    words["no_decay"] = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if not set(words["no_decay"]) <= {"norm", "bias"}:
        raise UserError("no_decay is a list of norm and bias", where=_WHERE)
    decay = words.get("layer_decay")
    if decay is not None and not 0 < decay <= 1:
        raise UserError(f"layer_decay is {decay}; it lies between 0 and 1", where=_WHERE)
    return Grouping(**words)


def parameter_groups(
    network: nn.Module,
    layerwise: Mapping[str, float],
    grouping: Grouping | None = None,
    lr: float | None = None,
) -> list[dict[str, Any]]:
    """The parts in their written order, then everything else; `lr` is the rate of the rest."""
    wanted = grouping or Grouping()
    kinds = parameter_kinds(network) if wanted.by_kind else {}
    depths = parameter_depths(network) if wanted.layer_decay is not None else {}
    last = max(depths.values(), default=0)
    members: dict[tuple[str, int, str], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            place = (part_of(name, layerwise), depths.get(name, 0), kinds.get(name, ""))
            members.setdefault(place, []).append(parameter)
    order = [*layerwise, DEFAULT_GROUP]
    groups: list[dict[str, Any]] = []
    for part, depth, kind in sorted(
        members, key=lambda place: (order.index(place[0]), place[1], _ORDER.index(place[2]))
    ):
        name = "/".join([part, *([f"depth{depth}"] if depths else []), *([kind] if kind else [])])
        group: dict[str, Any] = {"params": members[part, depth, kind], "name": name}
        factor = (wanted.layer_decay or 1.0) ** (last - depth)
        factor *= wanted.bias_lr if kind == "bias" and wanted.bias_lr is not None else 1.0
        rate = layerwise.get(part, lr)
        if part in layerwise or (factor != 1.0 and rate is not None):
            group["lr"] = float(layerwise.get(part, rate or 0.0)) * factor
        if kind:
            group["kind"] = kind
        if kind in wanted.no_decay:
            group["weight_decay"] = 0.0
        groups.append(group)
    return groups


_ORDER = ("", "weight", "norm", "bias")


def part_of(parameter: str, layerwise: Mapping[str, float]) -> str:
    """The most exact part that a parameter lies in."""
    inside = [part for part in layerwise if parameter == part or parameter.startswith(f"{part}.")]
    return max(inside, key=len, default=DEFAULT_GROUP)


def parameter_kinds(network: nn.Module) -> dict[str, Kind]:
    """Bias, norm (norm layers' weights and other scales of one dimension), or weight."""
    kinds: dict[str, Kind] = {}
    for prefix, module in network.named_modules():
        for leaf, parameter in module.named_parameters(recurse=False):
            kind: Kind = "weight"
            if parameter.ndim <= 1 and leaf.endswith("bias"):
                kind = "bias"
            elif parameter.ndim <= 1 or isinstance(module, _NORMS):
                kind = "norm"
            kinds[f"{prefix}.{leaf}" if prefix else leaf] = kind
    return kinds


def parameter_depths(network: nn.Module) -> dict[str, int]:
    """How deep each parameter lies: a layer is a path down to its first number.

    What is registered before the first such layer is depth 0 with it being 1; what comes after the
    last one lies one deeper; what stands between two belongs to the one before.
    """
    layers: dict[str, int] = {}
    depths: dict[str, int] = {}
    names = [name for name, _ in network.named_parameters()]
    for name in names:
        found = _NUMBERED.match(name)
        if found:
            layers.setdefault(found[0], len(layers) + 1)
        depths[name] = layers[found[0]] if found else len(layers)
    for name in reversed(names):
        if _NUMBERED.match(name):
            break
        depths[name] = len(layers) + 1
    return depths


def refuse_unknown_parts(network: nn.Module, layerwise: Mapping[str, float]) -> None:
    known = list(_parts(network))
    for part in layerwise:
        if part not in known:
            near = nearest(part, known)
            top = [name for name in known if "." not in name]
            raise UserError(
                f"the model has no part {part!r}",
                where="optimizer.layerwise",
                todo=f"Did you mean {near}?" if near else f"Its parts are {', '.join(top)}.",
            )


def _parts(network: nn.Module) -> Iterator[str]:
    """Names of all submodules and of the parameters themselves."""
    for name, _ in network.named_modules(remove_duplicate=False):
        if name:
            yield name
    for name, _ in network.named_parameters(remove_duplicate=False):
        yield name
