"""Blocks: cut by the data alone, read without being disturbed, saved with what is pending."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.engine.meter_set import BLOCK_BYTES, BLOCK_STEPS, MeterSet
from cvtrainer.engine.recorder import MeterEntry, Recorder
from cvtrainer.meters import AccuracyMeter, LossMeter
from cvtrainer.protocols import State
from cvtrainer.trainer import StageSettings
from tests.toy import batches, toy_trainer

BINDINGS = {
    "loss": {"loss": "loss", "batch_size": "batch_size"},
    "accuracy": {"output": "output", "target": "class_id"},
}


class Calls:
    """Remembers the form of every block it is given."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("calls",)

    def __init__(self) -> None:
        self.blocks: list[Any] = []

    def update(self, value: Any) -> None:
        self.blocks.append(value)

    def compute(self) -> dict[str, float]:
        return {"calls": float(len(self.blocks))}

    def reset(self) -> None:
        self.blocks = []

    def merge(self, states: Sequence[State]) -> None:
        self.blocks = [block for state in states for block in state["blocks"]]

    def state_dict(self) -> State:
        return {"blocks": list(self.blocks)}

    def load_state_dict(self, state: State) -> None:
        self.blocks = list(state["blocks"])


def watching() -> tuple[MeterSet, Calls]:
    calls = Calls()
    return MeterSet({"calls": calls}, {"calls": {"value": "value"}}), calls


def both() -> MeterSet:
    return MeterSet({"loss": LossMeter(), "accuracy": AccuracyMeter((1, 5))}, BINDINGS)


def step(number: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(number)
    size = 3 + number % 3
    return {
        "loss": torch.rand((), generator=generator, requires_grad=True),
        "output": torch.randn(size, 10, generator=generator, requires_grad=True) * 2,
        "class_id": torch.randint(0, 10, (size,), generator=generator),
        "batch_size": size,
    }


def run(meters: MeterSet, numbers: range) -> dict[str, float]:
    for number in numbers:
        meters.record(step(number))
    return meters.compute()


def by_hand(numbers: range) -> dict[str, float]:
    """The same without blocks."""
    loss, accuracy = LossMeter(), AccuracyMeter((1, 5))
    for number in numbers:
        fields = step(number)
        loss.update(fields["loss"], torch.tensor(fields["batch_size"]))
        accuracy.update(fields["output"], fields["class_id"])
    return {**loss.compute(), **accuracy.compute()}


@pytest.mark.seed("S0-106", "S0-107")
@pytest.mark.parametrize("steps", [1, 15, 16, 17, 50])
def test_blocks_change_no_number(steps: int) -> None:
    assert run(both(), range(steps)) == pytest.approx(by_hand(range(steps)), rel=1e-12)


def test_a_block_has_sixteen_steps() -> None:
    meters, calls = watching()
    for _ in range(2 * BLOCK_STEPS + 3):
        meters.record({"value": torch.tensor(1.0)})
    assert [tuple(block.shape) for block in calls.blocks] == [(BLOCK_STEPS,)] * 2


def test_a_block_holds_no_more_than_its_bytes() -> None:
    meters, calls = watching()
    rows = BLOCK_BYTES // 4 // 4 // 8
    for _ in range(9):
        meters.record({"value": torch.zeros(rows, 8)})
    assert [len(block) for block in calls.blocks] == [4 * rows, 4 * rows]


def test_reading_disturbs_nothing() -> None:
    meters, calls = watching()
    for number in range(BLOCK_STEPS + 5):
        meters.record({"value": torch.tensor(float(number))})
        assert meters.compute()["calls"] == number // BLOCK_STEPS + 1
    assert len(calls.blocks) == 1
    read, unread = both(), both()
    for number in range(40):
        read.record(step(number))
        unread.record(step(number))
        read.compute()
    assert read.compute() == unread.compute()


@pytest.mark.parametrize("cut", [1, 7, 16, 23])
def test_resuming_is_exact_to_the_bit(cut: int) -> None:
    unbroken, first = both(), both()
    run(first, range(cut))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    resumed = both()
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.compute() == first.compute()
    assert run(resumed, range(cut, 60)) == run(unbroken, range(60))
    for name, state in unbroken.state_dict()["meters"].items():
        for key, value in state.items():
            other = resumed.state_dict()["meters"][name][key]
            pairs = value.items() if isinstance(value, Mapping) else [(key, value)]
            for part, tensor in pairs:
                assert torch.equal(tensor, other[part] if isinstance(other, Mapping) else other)


def test_a_saved_state_does_not_move_on() -> None:
    meters = both()
    run(meters, range(20))
    state = meters.state_dict()
    before = copy.deepcopy(state)
    run(meters, range(20, 40))
    again = both()
    again.load_state_dict(state)
    expected = both()
    expected.load_state_dict(before)
    assert again.compute() == expected.compute()


def test_a_state_holds_only_its_own_rows() -> None:
    meters, _ = watching()
    large = torch.zeros(100_000, 2)
    meters.record({"value": large[:2]})
    kept = meters.state_dict()["pending"][0]["value"]
    assert kept.untyped_storage().nbytes() == 16


@pytest.mark.seed("S0-106", "S0-107")
def test_ranks_merge_to_the_numbers_of_one_process() -> None:
    first, second = both(), both()
    run(first, range(21))
    run(second, range(21, 40))
    expected = both()
    states = [first.state_dict(), second.state_dict()]
    first.merge(states)
    assert first.compute() == pytest.approx(run(expected, range(40)), rel=1e-12)
    second.merge(states)
    assert second.compute() == first.compute()


@pytest.mark.seed("S0-106", "S0-108")
def test_a_reset_forgets_pending_steps_too() -> None:
    meters = both()
    run(meters, range(20))
    meters.reset()
    assert meters.compute() == {}
    assert run(meters, range(3)) == run(both(), range(3))


@pytest.mark.seed("S0-108")
def test_two_sets_share_nothing() -> None:
    train, val = both(), both()
    run(train, range(20))
    assert val.compute() == {}
    expected = train.compute()
    run(val, range(30, 35))
    assert train.compute() == expected


def test_nothing_keeps_the_graph_alive() -> None:
    meters, _ = watching()
    weight = torch.ones(2, requires_grad=True)
    meters.record({"value": weight * 2})
    meters.record({"value": [weight * 2]})
    meters.record({"value": {"part": weight * 2}})
    (first,), (second,), (third,) = meters._pending
    assert not any(part.requires_grad for part in (first, second[0], third["part"]))


@pytest.mark.parametrize(
    "values",
    [
        [torch.zeros(2, 3), torch.zeros(2, 4)],
        [torch.zeros(2), torch.zeros(2, dtype=torch.int64)],
        [{"a": torch.tensor(1.0)}, {"b": torch.tensor(1.0)}],
        ["left", "right"],
        [torch.tensor(1.0), 1.0],
    ],
    ids=["widths", "types", "keys", "words", "kinds"],
)
def test_what_does_not_fit_together_comes_step_by_step(values: list[Any]) -> None:
    meters, _ = watching()
    for value in values:
        meters.record({"value": value})
    assert meters.compute()["calls"] == 2


def test_forms_of_blocks() -> None:
    meters, calls = watching()
    for number in range(BLOCK_STEPS):
        meters.record({"value": {"size": 4, "names": ["a", str(number)], "x": torch.ones(2, 3)}})
    block = calls.blocks[0]
    assert block["size"].tolist() == [4] * BLOCK_STEPS
    assert len(block["names"]) == 2 * BLOCK_STEPS
    assert block["x"].shape == (2 * BLOCK_STEPS, 3)


def test_two_meters_of_one_name_are_told_apart_or_refused() -> None:
    meters = MeterSet({"a": LossMeter(), "b": LossMeter()}, dict.fromkeys("ab", BINDINGS["loss"]))
    meters.record(step(0))
    with pytest.raises(UserError, match="a and b both produce 'loss'"):
        meters.compute()
    with pytest.raises(UserError, match="accuracy"):
        MeterSet({"accuracy": AccuracyMeter()}, {})


@pytest.mark.seed("S0-108")
def test_an_evaluation_in_the_middle_of_an_epoch_leaves_training_values_alone() -> None:
    def losses(**every: Any) -> list[float]:
        trainer = toy_trainer(
            meters=[LossMeter()],
            train=batches(BLOCK_STEPS + 3),
            val=batches(BLOCK_STEPS + 1),
            dropout=0.0,
            settings=StageSettings(**every),
        )
        return [trainer.train(epochs)["train/loss"] for epochs in (1, 2)]

    assert losses(eval_steps=BLOCK_STEPS + 1) == losses(eval_epochs=None)


class Half:
    """A meter as one writes it at first."""

    def __init__(self, told: Any = None) -> None:
        self.told = told

    def update(self, output: Tensor) -> None: ...

    def compute(self) -> Any:
        return self.told

    def reset(self) -> None: ...


def test_a_meter_that_is_not_finished_is_told_before_the_first_batch() -> None:
    entry: Any = MeterEntry("own", Half())  # type: ignore[arg-type]
    words = r"meters\.own: Half has no state_dict, no load_state_dict"
    with pytest.raises(UserError, match=words):
        Recorder([entry], "train")


@pytest.mark.parametrize(
    ("told", "text"),
    [(0.5, "compute gives a float"), ({"own": "high"}, "gives a value that is a str")],
)
def test_what_a_meter_gives_are_numbers_by_name(told: Any, text: str) -> None:
    meters: Any = MeterSet({"own": Half(told)}, {"own": {"output": "output"}})  # type: ignore[dict-item]
    with pytest.raises(UserError, match=text):
        meters.compute()


def test_numbers_of_any_library_are_numbers() -> None:
    told = {"a": np.float32(0.5), "b": torch.tensor([2.0]), "c": 3, "d": True}
    meters: Any = MeterSet({"own": Half(told)}, {"own": {"output": "output"}})  # type: ignore[dict-item]
    assert meters.compute() == told
