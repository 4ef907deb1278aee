"""Multiply-accumulates and memory against numbers that a hand can compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.jobs.model.measure import kept_for_backward, measure


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.inner(x, x, x, need_weights=False)[0]
        return made


class Twice(nn.Module):
    """One layer used twice, and a product that no module makes."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(6, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(self.one(x))
        return y @ y.transpose(1, 2)


def macs(model: nn.Module, *shape: int) -> int:
    x = torch.rand(shape)
    return measure([model.eval()], lambda: model(x), [x]).macs


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), (1, 3, 16, 12), 8 * 8 * 6 * 3 * 9),
        (nn.Conv2d(8, 8, 3, groups=8), (2, 8, 7, 5), 2 * 8 * 5 * 3 * 9),
        (nn.Conv2d(8, 12, 1, groups=4), (1, 8, 5, 5), 12 * 25 * 2),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (1, 4, 5, 5), 4 * 6 * 4 * 25),
        (nn.Conv1d(2, 3, 5, dilation=2), (1, 2, 20), 3 * 12 * 2 * 5),
        (nn.Linear(10, 7), (4, 10), 4 * 70),
        (nn.Linear(10, 7, bias=False), (2, 5, 10), 10 * 70),
        (nn.BatchNorm2d(3), (1, 3, 4, 4), 0),
        (Twice(), (1, 5, 6), 2 * 5 * 36 + 5 * 5 * 6),
        (nn.LSTM(6, 4, batch_first=True), (1, 9, 6), 9 * 16 * (6 + 4)),
        (nn.GRU(6, 4, batch_first=True, bidirectional=True), (1, 9, 6), 2 * 9 * 12 * (6 + 4)),
        (Attention(), (1, 5, 8), 5 * 8 * 24 + 2 * 5 * 5 * 8 + 5 * 64),
        (
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            (1, 5, 8),
            5 * 8 * 24 + 2 * 5 * 5 * 8 + 5 * 64 + 2 * 5 * 8 * 16,
        ),
    ],
)
def test_products_are_counted_exactly(
    model: nn.Module, shape: tuple[int, ...], expected: int
) -> None:
    assert macs(model, *shape) == expected


def test_modules_have_their_own_share_and_their_last_shapes() -> None:
    twice = Twice()
    model = nn.Sequential(nn.Linear(6, 6), twice)
    x = torch.rand(1, 5, 6)
    found = measure([model], lambda: model(x), [x])
    assert found.modules[twice.one].macs == 2 * 5 * 36
    assert found.modules[twice.one].calls == 2
    assert found.modules[twice].macs == 2 * 5 * 36 + 5 * 5 * 6
    assert found.modules[model].macs == found.macs == 3 * 5 * 36 + 5 * 5 * 6
    assert found.modules[model].shapes == [1, 5, 5]
    assert found.modules[model].bytes == 25 * 4
    assert torch.nn.modules.module._global_forward_hooks == {}
    assert not twice.one._forward_hooks


class Chain(nn.Module):
    """x -> a (double) -> b (single); x and a are needed no more."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([x, x])
        y = y.sum(0, keepdim=True)
        return torch.relu(y)


def test_the_peak_is_what_lives_at_once() -> None:
    model, x = Chain(), torch.rand(1, 1000)
    size = 4000
    assert measure([model], lambda: model(x), [x]).peak == 4 * size
    stack = nn.Sequential(*[nn.ReLU() for _ in range(9)])
    assert measure([stack], lambda: stack(x), [x]).peak == 3 * size
    inplace = nn.Sequential(*[nn.ReLU(inplace=True) for _ in range(9)])
    assert measure([inplace], lambda: inplace(x), [x]).peak == size


def test_what_the_backward_pass_needs_is_counted_once_and_without_weights() -> None:
    model: Any = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 3))
    x = torch.rand(2, 10)
    # the first layer keeps x, the activation and the last layer the same 2 x 20
    assert kept_for_backward([model], lambda: model(x)) == 4 * (2 * 10 + 2 * 20)
