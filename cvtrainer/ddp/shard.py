"""Shards a network over all processes: each keeps a part of its parameters and what follows them.

torch's `fully_shard` gathers the parameters of a block right before they are needed and scatters
its gradients, averaged over ranks, right after. Which modules are such blocks is decided by the
names of their classes or by their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cvtrainer.core.errors import UserError

_NEVER_CALLED = (nn.ModuleList, nn.ModuleDict)
_WHOLE = (nn.MultiheadAttention,)
"""They use their children's parameters without calling the children."""


@dataclass(frozen=True)
class Sharding:
    """What is gathered together, in which precision, and where the parts lie."""

    blocks: tuple[str, ...] = ()
    """Names of module classes; without any, blocks are found by their size."""
    block_parameters: int = 1_000_000
    reshard_after_forward: bool | None = None
    parameter_dtype: torch.dtype | None = None
    reduce_dtype: torch.dtype | None = None
    cpu_offload: bool = False


def parameter_sharding(options: Sharding, device: torch.device) -> Callable[[nn.Module], nn.Module]:
    """A function that shards a network in place."""

    def shard(network: nn.Module) -> nn.Module:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

        _start_alike(network)
        offloads = options.cpu_offload and device.type != "cpu"
        mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
        common: dict[str, Any] = {
            "mesh": mesh,
            "reshard_after_forward": options.reshard_after_forward,
            "offload_policy": CPUOffloadPolicy() if offloads else OffloadPolicy(),
        }
        if options.parameter_dtype is not None:
            for module in list(network.modules()):
                if isinstance(module, _BatchNorm) and module is not network:
                    fully_shard(module, mp_policy=_full_precision(options), **common)
        for block in list(_blocks(network, options)):
            fully_shard(block, mp_policy=_precision(options), **common)
        fully_shard(network, mp_policy=_precision(options, of_root=True), **common)
        network.register_forward_pre_hook(_follow_rank_0)
        return network

    return shard


def come_to_rest(network: nn.Module) -> None:
    """Give back gathered parameters: after a forward pass without a backward one they stay."""
    from torch.distributed.fsdp import FSDPModule

    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _precision(options: Sharding, *, of_root: bool = False) -> Any:
    from torch.distributed.fsdp import MixedPrecisionPolicy

    half = options.parameter_dtype is not None
    return MixedPrecisionPolicy(
        param_dtype=options.parameter_dtype,
        reduce_dtype=options.reduce_dtype,
        output_dtype=torch.float32 if of_root and half else None,
    )


def _full_precision(options: Sharding) -> Any:
    """Running statistics would drift in half precision."""
    from torch.distributed.fsdp import MixedPrecisionPolicy

    return MixedPrecisionPolicy(param_dtype=torch.float32, output_dtype=options.parameter_dtype)


def _blocks(network: nn.Module, options: Sharding) -> Iterator[nn.Module]:
    """From the innermost to the outermost; the network itself is not one of them."""
    inner = [module for module in dict.fromkeys(_callable(network)) if module is not network]
    if not options.blocks:
        taken: set[nn.Parameter] = set()
        for module in reversed(inner):
            free = set(module.parameters()) - taken
            if sum(one.numel() for one in free) >= options.block_parameters:
                taken |= free
                yield module
        return
    classes = {type(module).__name__ for module in network.modules()}
    for name in options.blocks:
        if name not in classes:
            raise UserError(
                f"no module of the model is a {name}",
                where="hooks.fsdp.blocks",
                todo=f"It has {', '.join(sorted(classes))}.",
            )
    yield from (one for one in reversed(inner) if type(one).__name__ in options.blocks)


def _callable(module: nn.Module) -> Iterator[nn.Module]:
    """Modules that are called as such, each before its children."""
    if not isinstance(module, _NEVER_CALLED):
        yield module
    if not isinstance(module, _WHOLE):
        for child in module.children():
            yield from _callable(child)


@torch.no_grad()
def _start_alike(network: nn.Module) -> None:
    """Everybody starts with rank 0's weights."""
    for tensor in (*network.parameters(), *network.buffers()):
        distributed.broadcast(tensor, src=0)


def _follow_rank_0(network: nn.Module, inputs: object) -> None:
    """Before each pass of training all have rank 0's buffers (running statistics, say)."""
    if network.training and torch.is_grad_enabled():
        with torch.no_grad():
            for buffer in network.buffers():
                distributed.broadcast(buffer, src=0)
