"""Plans whose numbers a hand can compute, and the numbers that a maker of boards has published."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.planner.graph import InPlace, Precision, Rules
from cvtrainer.deploy.planner.limits import Limits, check_block, precision_of, too_much
from cvtrainer.deploy.planner.plan import Plan, plan

KIB = 1024


class Small(nn.Module):
    """4 maps of 8 x 8, 16 of them, a sum, scores."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.scores = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x + self.second(x)
        scores: Tensor = self.scores(x.mean((2, 3)))
        return scores


def small(rules: Rules | None = None) -> Plan:
    return plan(Small(), (torch.zeros(1, 4, 8, 8),), rules=rules)


def test_peak_tensors_layers_and_weights_of_a_small_network() -> None:
    planned = small()
    assert planned.held_bytes == planned.arena_bytes == 2 * 1024
    assert planned.peak == "second (conv2d)"
    assert [(one.name, one.bytes, one.role) for one in planned.peak_tensors] == [
        ("first (conv2d)", 1024, "read"),
        ("second (conv2d)", 1024, "written"),
    ]
    names = [(one.name, one.kind) for one in planned.layers]
    convolutions = [("first", "conv2d"), ("second", "conv2d")]
    assert names == [*convolutions, ("", "add"), ("", "mean"), ("scores", "linear")]
    assert [one.held_bytes for one in planned.layers] == [1280, 2048, 2048, 1040, 32]
    assert planned.macs == 64 * 16 * 36 + 64 * 16 * 144 + 160
    assert planned.weight_bytes == 576 + 2304 + 160 + 4 * (16 + 16 + 10)
    assert planned.scale_bytes == 4 * (16 + 16 + 10)
    assert planned.size_bytes == planned.weight_bytes + planned.scale_bytes
    assert json.loads(json.dumps(planned.as_plain()))["arena_bytes"] == 2048


def test_what_a_runtime_cannot_do_costs_memory() -> None:
    assert small(Rules(in_place=())).arena_bytes == 3 * 1024
    assert small().by_rules == small(Rules(in_place=())).by_rules
    assert small().by_rules["none"] == 3 * 1024
    assert small(Rules(Precision.FLOAT)).arena_bytes == 4 * 2 * 1024
    assert small(Rules(Precision.FLOAT)).scale_bytes == 0


def test_sizes_are_rounded_up_to_the_alignment() -> None:
    assert small(Rules(alignment=1)).layers[-1].held_bytes == 16 + 10
    assert small(Rules(alignment=64)).layers[-1].held_bytes == 64 + 64


def mobilenet(side: int, classes: int = 5, in_place: tuple[InPlace, ...] = ()) -> Plan:
    """ST's zoo gives one size of weights for both; only five classes (flowers) make that size."""
    network = mobilenet_v2(width_mult=0.35, num_classes=classes)
    return plan(network, (torch.zeros(1, 3, side, side),), rules=Rules(in_place=in_place))


def test_mobilenet_at_128_as_published() -> None:
    """237.32 and 406.86 KiB (STM32Cube.AI 10.0.0 and ST Edge AI 4.0.0), 225.17 (8.1.0)."""
    planned = mobilenet(128)
    assert planned.arena_bytes == 240 * KIB
    assert planned.arena_bytes == pytest.approx(237.32 * KIB, rel=0.1)
    assert planned.by_rules["depthwise"] == pytest.approx(225.17 * KIB, rel=0.01)
    assert planned.weight_bytes / KIB == pytest.approx(406.86, abs=0.01)
    assert planned.size_bytes / KIB == pytest.approx(406.86, rel=0.1)
    assert [one.name for one in planned.peak_tensors] == [
        "features.2.conv.0.0 (conv2d)",
        "features.2.conv.1.0 (conv2d)",
    ]


def test_mobilenet_at_224_as_published() -> None:
    """699.32 KiB (ST Edge AI 4.0.0), 686.5 (8.1.0); 832.64 (10.0.0) is what no planning gives."""
    planned = mobilenet(224)
    assert planned.arena_bytes == 735 * KIB
    assert planned.arena_bytes == pytest.approx(699.32 * KIB, rel=0.1)
    assert planned.by_rules["depthwise"] == pytest.approx(686.5 * KIB, rel=0.01)
    assert planned.by_order["execution"] == pytest.approx(832.64 * KIB, rel=0.01)
    assert planned.weight_bytes / KIB == pytest.approx(406.86, abs=0.01)


def test_a_thousand_classes_as_published() -> None:
    assert mobilenet(32, 1000).weight_bytes / KIB == pytest.approx(1654.5, abs=0.01)


def test_limits_tell_what_is_over() -> None:
    planned = small()
    assert too_much(planned, Limits()) == []
    assert too_much(planned, Limits(2048, planned.size_bytes)) == []
    ram, flash = too_much(planned, Limits(2047, planned.size_bytes - 1))
    assert (ram.resource, ram.needs_bytes, ram.limit_bytes) == ("RAM", 2048, 2047)
    assert "held by first (conv2d) 1.0 KiB and second (conv2d) 1.0 KiB" in str(ram)
    assert str(flash).startswith("flash: 3.3 KiB of 3.3 KiB")


def test_halves_are_planned_as_the_floats_that_they_become() -> None:
    network, picture = nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 16, 16)
    block = {"precision": "fp16", "max_peak_ram_kb": 6.9, "max_size_kb": 0.01}
    (finding,) = check_block(network, (picture,), block=block)
    assert (finding.resource, finding.needs_bytes) == ("RAM", 4 * 7 * 256)
    assert check_block(network, (picture,), block={**block, "max_peak_ram_kb": 7}) == []


def test_a_deploy_block_is_checked_before_training() -> None:
    given = (torch.zeros(1, 4, 8, 8),)
    assert check_block(Small(), given, block={"max_peak_ram_kb": 2, "max_size_kb": 64}) == []
    found = check_block(Small(), given, block={"max_peak_ram_kb": 2, "precision": "float"})
    assert [one.needs_bytes for one in found] == [8192]
    assert check_block(nn.Module(), (), block={"target": "onnx"}) == []
    with pytest.raises(UserError, match="max_size_kb"):
        check_block(Small(), given, block={"max_size_kb": "small"})
    with pytest.raises(UserError, match="int4"):
        precision_of("int4")
