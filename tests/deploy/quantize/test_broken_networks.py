"""Networks made to suffer from 8 bits: the ladder brings them within the gate, or refuses them.

Each learns six directions of gratings in noise for some seconds; then channels are made large in
one layer and small in the next, which changes nothing in floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cvtrainer.deploy.program import Deployable, Program, captured
from cvtrainer.deploy.quantize.ladder import Ladder, Score
from cvtrainer.deploy.quantize.ptq import quantised
from cvtrainer.deploy.quantize.scheme import Scheme
from tests.deploy.quantize.test_ptq import Gate

pytestmark = pytest.mark.long

GATE = 0.005
SIDE, KINDS = 16, 6


def gratings(count: int, seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    label = torch.randint(KINDS, (count,), generator=draw)
    angle = (label * math.pi / KINDS).view(-1, 1, 1)
    phase = 6.3 * torch.rand(count, 1, 1, generator=draw)
    at = torch.arange(SIDE).float()
    wave = torch.sin(angle.cos() * at.view(1, -1, 1) + angle.sin() * at.view(1, 1, -1) + phase)
    noise = torch.randn(count, 3, SIDE, SIDE, generator=draw)
    return 0.5 + 0.2 * wave.unsqueeze(1) + 0.5 * noise, label


def block(inside: int, out: int, act: type[nn.Module]) -> list[nn.Module]:
    """Depthwise, pointwise."""
    return [
        nn.Conv2d(inside, inside, 3, 1, 1, groups=inside, bias=False),
        nn.BatchNorm2d(inside),
        act(),
        nn.Conv2d(inside, out, 1, bias=False),
        nn.BatchNorm2d(out),
        act(),
    ]


def network_of(
    *, width: int = 16, act: type[nn.Module] = nn.ReLU, gate: bool = False
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        act(),
        *block(width, width, act),
        *([Gate(width)] if gate else []),
        *block(width, 2 * width, act),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, KINDS),
    )


def trained(network: nn.Sequential, *, wild: float = 0.0) -> nn.Sequential:
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
        if wild and isinstance(part, nn.BatchNorm2d):
            part.weight.data = 10 ** torch.linspace(-wild, wild, len(part.weight))
    x, label = gratings(1536, 0)
    steps = 120
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, total_steps=steps)
    draw = torch.Generator().manual_seed(3)
    for _ in range(steps):
        rows = torch.randint(len(x), (64,), generator=draw)
        loss = nn.functional.cross_entropy(network(x[rows]), label[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def rescale(network: nn.Sequential, first: int, scale: Tensor) -> None:
    """Channels of a layer grow, and the next convolution takes it back: ReLU lets that through."""
    parts = list(network)
    after = next(one for one in parts[first + 1 :] if isinstance(one, nn.Conv2d))
    norm = parts[first + 1]
    grown = norm if isinstance(norm, nn.BatchNorm2d) else parts[first]
    with torch.no_grad():
        grown.weight *= scale.view(-1, *[1] * (grown.weight.ndim - 1))
        grown.bias *= scale
        after.weight /= scale.view(-1, 1, 1, 1) if after.groups > 1 else scale.view(1, -1, 1, 1)


def one_channel() -> nn.Sequential:
    network = trained(network_of())
    scale = torch.ones(16)
    scale[3] = 100
    rescale(network, 0, scale)
    return network


def skipped_norm() -> nn.Sequential:
    """Convolutions alone, as if trained without BatchNorm, with wild scales."""
    layers: list[nn.Module] = []
    for part in trained(network_of()):
        if isinstance(part, nn.BatchNorm2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], part)
        else:
            layers.append(part)
    network = nn.Sequential(*layers)
    draw = torch.Generator().manual_seed(5)
    for number in (0, 2, 4, 6):
        rescale(network, number, 10 ** (3 * torch.rand(16, generator=draw) - 1.5))
    return network


def hard_swish() -> nn.Sequential:
    return trained(network_of(act=nn.Hardswish), wild=1.5)


def squeeze_excite() -> nn.Sequential:
    return trained(network_of(act=nn.Hardswish, gate=True), wild=0.7)


def narrow_depthwise() -> nn.Sequential:
    return trained(network_of(width=8, act=nn.ReLU6), wild=0.7)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "one channel x100": one_channel,
    "hard-swish everywhere": hard_swish,
    "squeeze-excite": squeeze_excite,
    "depthwise of width 8": narrow_depthwise,
    "skipped BatchNorm": skipped_norm,
}


@cache
def network_named(name: str, seed: int) -> nn.Module:
    """Trained once for all tests."""
    torch.manual_seed(seed)
    return NETWORKS[name]()


def judge_of(network: nn.Module) -> tuple[Program, Callable[[nn.Module], Score], float]:
    def compute(x: Tensor) -> dict[str, Tensor]:
        return {"output": network(x)}

    program = captured(Deployable(network, compute, ("output",)), torch.rand(2, 3, SIDE, SIDE))
    x, label = gratings(1000, 1)

    def accuracy(one: nn.Module) -> float:
        with torch.no_grad():
            return float((one(x)[0].argmax(1) == label).float().mean())

    mine = accuracy(program.exported.module())

    def judge(one: nn.Module) -> Score:
        theirs = accuracy(one)
        return Score({"accuracy": theirs}, mine - theirs, mine - theirs <= GATE)

    return program, judge, mine


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NETWORKS)
def test_it_ends_within_the_gate_or_is_refused(name: str, seed: int) -> None:
    program, judge, mine = judge_of(network_named(name, seed))
    assert mine > 1.5 / KINDS  # it learnt something; how much depends on the seed
    sample = list(gratings(128, 2)[0].split(32))
    asked = Scheme(per_channel=False)
    first = judge(quantised(program, sample, asked).exported.module())
    if first.passes:
        return
    ladder = Ladder(program, sample, judge, lambda _: None)
    passing = ladder.passing(asked, first)
    made = next((one for one in passing if judge(one.exported.module()).passes), None)
    ended = ladder.tried[-1]

    if made is None:
        assert not ended.score.passes
    else:
        assert mine - judge(made.exported.module()).metrics["accuracy"] <= GATE
        assert ended.score.passes


@pytest.mark.parametrize("name", ["one channel x100", "skipped BatchNorm"])
def test_scales_that_neighbours_can_share_need_no_float_layer(name: str) -> None:
    program, judge, _ = judge_of(network_named(name, 0))
    sample = list(gratings(128, 2)[0].split(32))
    first = judge(quantised(program, sample, Scheme()).exported.module())
    assert first.worse > 0.05
    ladder = Ladder(program, sample, judge, lambda _: None)
    assert next(ladder.passing(Scheme(), first), None) is not None
    assert "equalisation" in ladder.tried[-1].rung.name
    assert not ladder.tried[-1].rung.left_float
