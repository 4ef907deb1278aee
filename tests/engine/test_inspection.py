"""Where the first bad value of a step is found: layers, gradients, what masks may hold."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.engine.finding import Place, range_of
from cvtrainer.engine.inspection import Inspector

NAN, INF = float("nan"), float("inf")


class Layer(nn.Module):
    """Any function as a layer."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: Tensor, **named: Tensor) -> Tensor:
        return self.function(*given, **named)


class Whole(nn.Module):
    """Two layers with something in between."""

    def __init__(self, between: Callable[[Tensor], Tensor], last: nn.Module) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.between = between
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self.first(x)))


def inspected(network: nn.Module, x: Tensor, criterion: nn.Module | None = None) -> Inspector:
    inspector = Inspector({"model": network}, criterion)
    samples = [(10 + row, f"{row}.png") for row in range(len(x))]
    inspector.begin(Place(5, 1, 5, "main", samples), {"x": x, "meta": {}})
    output = network(x)
    loss = output.sum() if criterion is None else criterion(output)
    if loss.requires_grad:
        loss.backward()
    return inspector


def batch(rows: int = 4) -> Tensor:
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(0))


def test_the_innermost_layer_is_named_not_those_around_it() -> None:
    deep = nn.Sequential(nn.Sequential(nn.Linear(3, 3), Layer(lambda x: x / 0 * 0)), nn.ReLU())
    found = inspected(nn.Sequential(deep, nn.Linear(3, 2)), batch()).forward
    assert found is not None
    assert (found.what, found.name, found.kind, found.value) == ("output", "0.0.1", "Layer", "NaN")
    assert found.rows == ()
    assert [str(one).split(" (")[0] for one in found.ranges] == ["input", "output"]


def test_what_is_computed_between_layers_is_said_to_be_so() -> None:
    network = Whole(lambda x: (x - 100).log(), nn.Linear(4, 2))
    found = inspected(network, batch()).forward
    assert found is not None
    assert (found.what, found.name, found.kind) == ("input", "last", "Linear")
    assert found.remarks == ("it is made in the forward pass of model itself",)


def test_rows_name_the_samples() -> None:
    x = batch()
    x[2, 1] = NAN
    found = inspected(nn.Linear(3, 2), x).forward
    assert found is not None
    assert (found.what, found.name, found.rows) == ("batch field", "x", (2,))
    assert any("12 2.png" in line for line in found.lines())
    assert not any("11 1.png" in line for line in found.lines())


def test_a_mask_of_minus_infinity_is_only_doubtful() -> None:
    def masked(x: Tensor) -> Tensor:
        return x.masked_fill(torch.eye(4, dtype=torch.bool), -INF)

    network = nn.Sequential(nn.Linear(3, 4), Layer(masked), nn.Softmax(-1))
    inspector = inspected(network, batch())
    assert inspector.forward is None
    assert inspector.doubtful is not None
    assert inspector.doubtful.name == "1"
    assert inspector.backward is None


class BadBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * INF


def test_the_layer_whose_backward_pass_is_bad() -> None:
    trap = Layer(BadBackward.apply)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), trap, nn.Linear(4, 2))
    found = inspected(network, batch()).backward
    assert found is not None
    assert (found.what, found.name, found.kind) == ("gradient", "2", "Layer")
    assert found.remarks[0].startswith("what comes back to it is the gradient (float32, 4 x 4): ")


def test_beside_a_shortcut_the_bad_branch_is_among_those_named() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(3, 3)
            self.bad = Layer(BadBackward.apply)
            self.good = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.bad(x) + self.good(x)

    found = inspected(Block(), batch()).backward
    assert found is not None
    named = {found.name, *found.remarks[-1].split("goes into ")[-1].split(" as well")[0].split()}
    assert "bad" in named


def test_a_gradient_of_a_weight_alone() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale.sqrt()  # its slope at zero has no bound

    found = inspected(nn.Sequential(nn.Linear(3, 3), Scale()), batch()).backward
    assert found is not None
    assert (found.name, found.kind, found.value) == ("1.scale", "Scale", "an infinite value")


def test_the_criterion_is_a_layer_as_well() -> None:
    root = Layer(lambda output: (output * 0).sqrt().sum())
    inspector = inspected(nn.Linear(3, 2), batch(), root)
    assert inspector.forward is None
    assert inspector.backward is not None
    assert (inspector.backward.name, inspector.backward.kind) == ("criterion", "Layer")


def test_several_networks_give_names_their_prefix() -> None:
    good, bad = nn.Linear(3, 3), nn.Sequential(Layer(lambda x: x * NAN))
    inspector = Inspector({"one": good, "two": bad}, None)
    inspector.begin(Place(), {})
    bad(good(batch()))
    assert inspector.forward is not None
    assert inspector.forward.name == "two.0"


def test_the_layer_that_raises_is_the_running_one() -> None:
    def fail(x: Tensor) -> Tensor:
        raise RuntimeError("no")

    network = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(), Layer(fail)))
    inspector = Inspector({"model": network}, None)
    with pytest.raises(RuntimeError):
        network(batch())
    assert inspector.running == "1.1"


def test_nothing_that_is_computed_changes_and_nothing_is_kept_alive() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    x = batch()
    network(x).sum().backward()
    expected = [one.grad.clone() for one in network.parameters() if one.grad is not None]
    network.zero_grad()
    inspector = Inspector({"model": network}, None)
    gc.disable()
    try:
        inspector.begin(Place(), {"x": x})
        output = network(x)
        gone = weakref.ref(output)
        output.sum().backward()
        del output
        inspector.forget()
        assert gone() is None
    finally:
        gc.enable()
    inspector.detach()
    for one, before in zip(network.parameters(), expected, strict=True):
        assert one.grad is not None
        assert torch.equal(one.grad, before)
    assert all(not one._forward_hooks and not one._forward_pre_hooks for one in network.modules())
    assert all(not one._backward_hooks for one in network.parameters())


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0, -2.0], "it (float32, 2): -2 to 1"),
        ([1.0, NAN, INF], "it (float32, 3): 1 to 1, and 1 NaN and 1 infinite"),
        ([NAN], "it (float32, 1): no finite value"),
    ],
)
def test_ranges_are_of_the_finite_values(values: list[float], text: str) -> None:
    assert str(range_of("it", torch.tensor(values))) == text
