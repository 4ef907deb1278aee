"""Wraps a network so that its gradients are averaged over all processes during backward.

The average is over ranks; that a rank with fewer samples counts less is the business of the weight
its batch carries. Networks in their original form stay visible to everybody but the task.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


def gradient_averaging(
    *,
    find_unused_parameters: bool = False,
    group: distributed.ProcessGroup | None = None,
) -> Callable[[nn.Module], nn.Module]:
    """A function that wraps a network; `group` carries the gradients, by default everybody's."""

    def wrap(network: nn.Module) -> nn.Module:
        return DistributedDataParallel(
            network,
            process_group=group,
            find_unused_parameters=find_unused_parameters,
            gradient_as_bucket_view=True,
        )

    return wrap
