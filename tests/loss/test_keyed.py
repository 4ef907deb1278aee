"""Losses under keys: what goes to which, and sums by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.loss import KeyedLosses, LossTerm

ENTROPY, SQUARES = nn.CrossEntropyLoss(), nn.MSELoss()
CLASSES = torch.tensor([0, 2, 1, 1])


def drawn(seed: int) -> Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.seed("S2-73", "S2-74", "S2-78", "S2-79")
def test_one_pair_goes_to_every_loss_of_every_key() -> None:
    losses = KeyedLosses({"head": [LossTerm(ENTROPY, 10.0)], "again": [ENTROPY]})
    scores = drawn(1)
    value = functional.cross_entropy(scores, CLASSES)
    found = losses((scores, CLASSES))
    torch.testing.assert_close(found["loss"], 10 * value + value)
    assert torch.equal(found["head"], value)
    assert list(found) == ["loss", "head", "again"]


@pytest.mark.seed("S2-80")
def test_what_a_key_is_given_belongs_to_its_losses() -> None:
    one, two, wanted = drawn(1), drawn(2), drawn(3)
    pair, other = (one, wanted), (two, wanted)
    squares, absolute = functional.mse_loss, functional.l1_loss
    both = KeyedLosses({"near": [LossTerm(SQUARES, 2.0), nn.L1Loss()]})
    one_to_one = both({"near": [pair, other]})
    torch.testing.assert_close(one_to_one["loss"], 2 * squares(*pair) + absolute(*other))
    assert list(one_to_one) == ["loss", "near_0", "near_1"]
    many_losses = both({"near": [pair]})
    torch.testing.assert_close(many_losses["loss"], 2 * squares(*pair) + absolute(*pair))
    many_inputs = KeyedLosses({"near": [LossTerm(SQUARES, 2.0)]})({"near": [pair, other, pair]})
    expected = 2 * squares(*pair) + squares(*other)
    torch.testing.assert_close(many_inputs["near"], expected)
    torch.testing.assert_close(many_inputs["loss"], 2 * expected)
    for wrong in ([pair, other, pair], []):
        with pytest.raises(UserError, match=rf"near has 2 losses and is given {len(wrong)} inputs"):
            both({"near": wrong})


@pytest.mark.seed("S2-75", "S2-81")
def test_inputs_may_have_names() -> None:
    made, wanted = drawn(1), drawn(2)
    losses = KeyedLosses({"near": [LossTerm(SQUARES, takes=["made", "wanted"])]})
    named = {"wanted": wanted, "made": made}
    for given in (named, {"near": [named]}, (made, wanted), {"near": [(made, wanted)]}):
        assert torch.equal(losses(given)["loss"], functional.mse_loss(made, wanted))


@pytest.mark.seed("S2-83")
def test_nothing_is_summed_in_place() -> None:
    parameter = drawn(1).requires_grad_()
    losses = KeyedLosses({"a": [SQUARES], "b": [LossTerm(nn.L1Loss(), 3.0)]})
    wanted = drawn(2)
    found = losses((parameter, wanted))
    (gradient,) = torch.autograd.grad(found["loss"], parameter)
    by_hand = functional.mse_loss(parameter, wanted) + 3 * functional.l1_loss(parameter, wanted)
    torch.testing.assert_close(gradient, torch.autograd.grad(by_hand, parameter)[0])
    assert torch.equal(found["a"], functional.mse_loss(parameter, wanted))


@pytest.mark.seed("S2-81")
@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"input": 1, "wanted": 2}, "MSELoss takes input, target and is given input, wanted"),
        ((1, 2, 3), r"MSELoss takes 2 inputs \(input, target\) and is given 3"),
        ({"a": [(1, 2)], "c": [(1, 2)]}, "has the keys a, b and is given a, c"),
        ({"a": tuple(torch.ones(2, 2)), "b": [(1, 2)]}, "MSELoss is given one Tensor"),
        ({"a": {"input": 1, "target": 2}, "b": [(1, 2)]}, "a is given a dict"),
        ("pair", "MSELoss is given one str"),
    ],
)
def test_what_does_not_fit_is_told(given: Any, text: str) -> None:
    with pytest.raises(UserError, match=text):
        KeyedLosses({"a": [SQUARES], "b": [SQUARES]})(given)


@pytest.mark.parametrize(
    ("keys", "name"), [({"loss": 1, "b": 1}, "loss"), ({"a": 2, "a_0": 1}, "a_0")]
)
def test_no_part_takes_the_place_of_another(keys: dict[str, int], name: str) -> None:
    with pytest.raises(UserError, match=f"two parts would be called {name}"):
        KeyedLosses({key: [nn.MSELoss()] * count for key, count in keys.items()})


def test_a_key_without_losses_is_refused() -> None:
    with pytest.raises(UserError, match="far names no loss"):
        KeyedLosses({"near": [SQUARES], "far": []})
