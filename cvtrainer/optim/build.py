"""Makes an optimizer with parameter groups by part of the network, kind of parameter and depth.

A part is the name of a submodule (`backbone`, `head`, `backbone.layer4`) with a learning rate of
its own; the longest name that fits a parameter wins. Which of torch's implementations computes a
step (`fused`, `foreach`) is torch's choice unless the config says it; what was used is saved with
the optimizer, so that a resumed run computes alike.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import LBFGS, Optimizer

from cvtrainer.core.errors import UserError
from cvtrainer.optim.construct import construct
from cvtrainer.optim.groups import parameter_groups, read_grouping, refuse_unknown_parts


def build_optimizer(
    network: nn.Module,
    type: type[Optimizer],
    kwargs: Mapping[str, Any],
    layerwise: Mapping[str, float],
    groups: Mapping[str, Any] | None = None,
) -> Optimizer:
    """The optimizer of this class over the network's trainable parameters."""
    if issubclass(type, LBFGS):
        raise UserError(
            f"{type.__name__} evaluates the loss several times per step, which this loop does not",
            where="optimizer",
        )
    refuse_unknown_parts(network, layerwise)
    grouping = read_grouping(groups)
    made = parameter_groups(network, layerwise, grouping, kwargs.get("lr", _default_rate(type)))
    if not made:
        raise UserError("the model has no trainable parameters", where="optimizer")
    return construct(type, made, kwargs, where="optimizer")


def _default_rate(type: type[Optimizer]) -> float | None:
    """The rate of an optimizer whose config names none."""
    lr = inspect.signature(type).parameters.get("lr")
    return None if lr is None or not isinstance(lr.default, int | float) else float(lr.default)
