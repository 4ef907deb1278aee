"""Checksums see every bit, and name the leaf."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import nn

from cvtrainer.jobs.verify_resume.digest import attributes, leaves, summary


def test_each_leaf_has_its_path_and_small_values_are_readable() -> None:
    state = {"a": {"b": 3, "c": [torch.zeros(2), 1.5]}, "d": [1, 2], "e": {}}
    found = leaves(state)
    assert list(found) == ["a/b", "a/c/0", "a/c/1", "d", "e"]
    assert found["a/b"] == "3"
    assert found["d"] == "[1, 2]"


def test_one_bit_of_a_tensor_shows_and_its_form_too() -> None:
    one = torch.ones(4)
    other = one.clone()
    other.view(torch.int32)[2] ^= 1
    assert summary(one) != summary(other)
    assert summary(one) == summary(one.clone())
    assert summary(one) != summary(one.double())
    assert summary(one) != summary(one.reshape(2, 2))
    assert summary(torch.zeros(3, dtype=torch.bfloat16)) == summary(
        torch.zeros(3, dtype=torch.bfloat16)
    )
    assert summary(torch.tensor(0.0)) != summary(torch.tensor(-0.0))


def test_generators_are_looked_into() -> None:
    makers = (
        lambda: random.Random(1),
        lambda: np.random.default_rng(1),
        lambda: np.random.RandomState(1),
        lambda: torch.Generator().manual_seed(1),
    )
    for make in makers:
        one, other = make(), make()
        assert summary(one) == summary(other)
        draw = getattr(one, "random", None) or getattr(one, "rand", None)
        _ = draw() if draw else torch.rand(1, generator=one)
        assert summary(one) != summary(other)


def test_attributes_are_those_that_can_be_told_apart() -> None:
    layer = nn.Linear(2, 2)
    layer.seen = 4  # type: ignore[assignment]
    layer.last = torch.zeros(1)  # type: ignore[assignment]
    found = attributes(layer, without=frozenset({"training"}))
    assert found["seen"] == "4"
    assert "last" in found
    assert "_parameters" in found or "_backward_hooks" in found
    assert not any("object at" in text for text in found.values())
