"""`cvtrainer model show`: the networks of a stage as a tree, with what each part costs.

The input is a sample of the config's own evaluation split where its data is there, else one of the
given shape. Nothing is trained, loaded or written.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_of_stage import known_input
from cvtrainer.jobs.model.measure import Measured, kept_for_backward, measure, shapes_of
from cvtrainer.jobs.model.opened import open_stage
from cvtrainer.jobs.prediction.preparing import channels_of
from cvtrainer.models.parts import CAPABILITIES, capabilities_of


@dataclass
class Layer:
    """One module: its part of the tree, and what was seen of it in one forward pass.

    Numbers of parameters and multiply-accumulates are those of all below it; `shape` and `bytes`
    are its output's. A module that is not called has no shape; it is `used` if one of its
    parts is called.
    """

    name: str
    type: str
    depth: int
    parameters: int
    trainable: int
    macs: int = 0
    calls: int = 0
    used: bool = True
    shape: Any = None
    bytes: int = 0


@dataclass
class Shown:
    """The networks of a stage with all their layers, in the order of their definition."""

    stage: str
    input: dict[str, Any]
    input_from: str
    parameters: int
    trainable: int
    buffers: int
    weight_bytes: int
    macs: int
    peak_bytes: int
    training_bytes: int | None
    outputs: Any
    layers: list[Layer] = field(default_factory=list)
    capabilities: tuple[str, ...] | None = None
    """What all networks are known to be; None where one does not say."""
    takes: dict[str, Any] | None = None
    """The input spec of the first network; None where evaluation has no such form, or where the
    task draws what goes in."""
    published: dict[str, Any] | None = None
    """The pictures that the published weights of a library's network were trained on."""

    def as_plain(self) -> dict[str, Any]:
        """All of it, for a file."""
        return asdict(self)


def show(
    config: str | Path,
    *,
    overrides: Sequence[str] = (),
    stage: str | None = None,
    shape: Sequence[int] | None = None,
) -> Shown:
    """Build the stage's networks and run one sample through them."""
    opened = open_stage(config, overrides=overrides, stage=stage, shape=shape)
    networks, batch, forward = opened.networks, opened.batch, opened.forward
    given = {name: value for name, value in batch.items() if name not in ("target", "meta")}
    outputs: list[Any] = []
    found = measure(list(networks.values()), lambda: outputs.append(forward(batch)), given)
    layers = list(_layers(networks, found))
    parts = list(networks.values())
    counts = [_unique(module.parameters() for module in parts)]
    weights = [*counts[0], *_unique(module.buffers() for module in parts)]
    spec = None if opened.draws else known_input(opened.stage, channels_of(parts[0]))
    return Shown(
        stage=opened.stage["name"],
        input=shapes_of(given),
        input_from=opened.origin,
        parameters=sum(one.numel() for one in counts[0]),
        trainable=sum(one.numel() for one in counts[0] if one.requires_grad),
        buffers=sum(one.numel() for one in weights) - sum(one.numel() for one in counts[0]),
        weight_bytes=sum(one.numel() * one.element_size() for one in weights),
        macs=found.macs,
        peak_bytes=found.peak,
        training_bytes=_in_training(parts, forward, batch),
        outputs=shapes_of(outputs[0]),
        layers=layers,
        capabilities=_capabilities(parts),
        takes=spec.plain() if spec is not None else None,
        published=_published(parts, opened.experiment.builder.first_weights.which_of),
    )


def _capabilities(networks: Sequence[nn.Module]) -> tuple[str, ...] | None:
    found = [capabilities_of(network) for network in networks]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    return tuple(one for one in CAPABILITIES if all(one in those for those in known))


def _published(
    networks: Sequence[nn.Module], which_of: Callable[[nn.Module], str | None]
) -> dict[str, Any] | None:
    """Of the first part that knows one, for the weights that it asks for or the library's best."""
    every: Iterator[Any] = (part for network in networks for part in network.modules())
    told = (one.published_input(which_of(one)) for one in every if hasattr(one, "published_input"))
    found = next((one for one in told if one is not None), None)
    return None if found is None else asdict(found)


def _layers(networks: Mapping[str, nn.Module], found: Measured) -> Iterator[Layer]:
    for name, network in networks.items():
        for path, module in network.named_modules(remove_duplicate=True):
            seen = found.modules[module]
            parameters = list(module.parameters())
            yield Layer(
                name=f"{name}.{path}" if path else name,
                type=type(module).__name__,
                depth=path.count(".") + 1 if path else 0,
                parameters=sum(one.numel() for one in parameters),
                trainable=sum(one.numel() for one in parameters if one.requires_grad),
                macs=_macs(module, found),
                calls=seen.calls,
                used=any(found.modules[one].calls for one in module.modules()),
                shape=seen.shapes,
                bytes=seen.bytes,
            )


def _macs(module: nn.Module, found: Measured) -> int:
    """Of its own calls; of its parts' calls where it only holds them, as lists of modules do."""
    if found.modules[module].calls:
        return found.modules[module].macs
    return sum(_macs(part, found) for part in module.children())


def _unique(groups: Iterator[Iterator[Tensor]]) -> list[Tensor]:
    return list({id(one): one for one in itertools.chain.from_iterable(groups)}.values())


def _in_training(
    networks: Sequence[nn.Module], forward: Callable[[Any], Any], batch: Mapping[str, Any]
) -> int | None:
    """Bytes per sample that training keeps for the backward pass; None where it cannot be run.

    Measured with two samples, because BatchNorm needs more than one value.
    """
    pair = {
        name: value if name == "meta" else tree_map(_doubled, value)
        for name, value in batch.items()
    }
    modes = [network.training for network in networks]
    try:
        for network in networks:
            network.train()
        return kept_for_backward(networks, lambda: forward(pair)) // 2
    except (RuntimeError, ValueError, UserError):
        return None
    finally:
        for network, mode in zip(networks, modes, strict=True):
            network.train(mode)


def _doubled(value: Any) -> Any:
    return torch.cat([value, value]) if isinstance(value, Tensor) and value.ndim else value
