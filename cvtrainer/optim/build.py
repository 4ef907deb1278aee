"""Makes an optimizer with one parameter group per named part of the network.

A part is the name of a submodule (`backbone`, `head`, `backbone.layer4`) with a learning rate of
its own; the longest name that fits a parameter wins. All other parameters, inside and outside of
the three usual parts, share the group `default`. Frozen parameters are left out, and so are groups
that would be empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn
from torch.optim import LBFGS, Optimizer

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.optim.construct import construct

DEFAULT_GROUP = "default"


def build_optimizer(
    network: nn.Module,
    type: type[Optimizer],
    kwargs: Mapping[str, Any],
    layerwise: Mapping[str, float],
) -> Optimizer:
    """The optimizer of this class over the network's trainable parameters."""
    if issubclass(type, LBFGS):
        raise UserError(
            f"{type.__name__} evaluates the loss several times per step, which this loop does not",
            where="optimizer",
        )
    _refuse_unknown_parts(network, layerwise)
    groups = parameter_groups(network, layerwise)
    if not groups:
        raise UserError("the model has no trainable parameters", where="optimizer")
    return construct(type, groups, kwargs, where="optimizer")


def parameter_groups(network: nn.Module, layerwise: Mapping[str, float]) -> list[dict[str, Any]]:
    """The parts in their written order, then everything else."""
    members: dict[str, list[nn.Parameter]] = {part: [] for part in (*layerwise, DEFAULT_GROUP)}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            members[_part_of(name, layerwise)].append(parameter)
    groups: list[dict[str, Any]] = []
    for part, parameters in members.items():
        if parameters:
            rate = {"lr": float(layerwise[part])} if part in layerwise else {}
            groups.append({"params": parameters, "name": part, **rate})
    return groups


def _part_of(parameter: str, layerwise: Mapping[str, float]) -> str:
    """The most exact part that a parameter lies in."""
    inside = [part for part in layerwise if parameter == part or parameter.startswith(f"{part}.")]
    return max(inside, key=len, default=DEFAULT_GROUP)


def _refuse_unknown_parts(network: nn.Module, layerwise: Mapping[str, float]) -> None:
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
