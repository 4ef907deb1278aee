"""Makes an optimizer with parameter groups by part of the network, kind of parameter and depth.

A part is the name of a submodule (`backbone`, `head`, `backbone.layer4`) with a learning rate of
its own; the longest name that fits a parameter wins. What a class cannot do in this loop, or with
the parameters at hand, is told before it is made. Which of torch's implementations computes a step
is saved with the optimizer, so that a resumed run computes alike.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn
from torch.optim import LBFGS, Muon, Optimizer, SparseAdam

from cvtrainer.core.errors import UserError
from cvtrainer.optim.construct import construct
from cvtrainer.optim.groups import parameter_groups, read_grouping, refuse_unknown_parts
from cvtrainer.optim.kernels import chosen_kernel, keep_layouts


def build_optimizer(
    network: nn.Module,
    type: type[Optimizer],
    kwargs: Mapping[str, Any],
    layerwise: Mapping[str, float],
    groups: Mapping[str, Any] | None = None,
) -> Optimizer:
    """The optimizer of this class over the network's trainable parameters."""
    _refuse_what_cannot_work(network, type)
    refuse_unknown_parts(network, layerwise)
    grouping = read_grouping(groups)
    made = parameter_groups(network, layerwise, grouping, kwargs.get("lr", _default_rate(type)))
    if not made:
        raise UserError("the model has no trainable parameters", where="optimizer")
    words = {**kwargs, **chosen_kernel(type, kwargs, network)}
    optimizer = construct(type, made, words, where="optimizer")
    keep_layouts(optimizer)
    return optimizer


def _refuse_what_cannot_work(network: nn.Module, type: type[Optimizer]) -> None:
    if issubclass(type, LBFGS):
        raise UserError(
            f"{type.__name__} evaluates the loss several times per step, which this loop does not",
            where="optimizer",
            todo="Use AdamW, or SGD with momentum.",
        )
    if issubclass(type, SparseAdam):
        dense = [name for name, parameter in _trained(network) if not _is_sparse(network, name)]
        if dense:
            raise UserError(
                f"{type.__name__} needs sparse gradients, and that of {dense[0]} is dense",
                where="optimizer",
                todo="Use Adam, which takes both.",
            )
    if issubclass(type, Muon):
        other = [name for name, parameter in _trained(network) if parameter.ndim != 2]
        if other:
            raise UserError(
                f"torch's {type.__name__} takes matrices only, and {other[0]} is none",
                where="optimizer",
                todo="Use timm.optim.Muon, which moves convolutions too and all else by AdamW.",
            )


def _trained(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, one) for name, one in network.named_parameters() if one.requires_grad)


def _is_sparse(network: nn.Module, parameter: str) -> bool:
    owner = network.get_submodule(parameter.rpartition(".")[0])
    return getattr(owner, "sparse", False) is True


def _default_rate(type: type[Optimizer]) -> float | None:
    """The rate of an optimizer whose config names none."""
    lr = inspect.signature(type).parameters.get("lr")
    return None if lr is None or not isinstance(lr.default, int | float) else float(lr.default)
