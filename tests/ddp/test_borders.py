"""Two ranks end at one border and go on from there; an epoch is handed over between 1 and 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cvtrainer.ddp.world import World
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.trainer import Trainer
from tests.ddp.borders import SAMPLES, At, Seen, trainer_of
from tests.ddp.several import run_ranks


def save_in_the_middle(path: Path, *, batch_size: int, batches: int, **more: Any) -> list[int]:
    """One process stops after so many batches; the samples it has seen."""

    def save_and_stop(trainer: Trainer) -> None:
        trainer.request_save(path, wait=True)
        trainer.stop()

    seen = Seen()
    hooks = [seen, At(batches, save_and_stop)]
    trainer_of(World(), hooks, batch_size=batch_size, **more).train(2)
    return seen.of["1"]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int], list[Any]]:
    """What both ranks found, in one start; what one process had seen before it handed over."""
    folder = tmp_path_factory.mktemp("borders")
    before = save_in_the_middle(folder / "alone.pth", batch_size=3, batches=7)
    ended = run_ranks("tests.ddp.borders", str(folder))
    assert ended.codes == [0, 0], ended.told
    return folder, before, [json.loads((folder / f"rank{r}.json").read_text()) for r in (0, 1)]


def test_one_rank_that_stops_ends_all_at_the_same_border(ranks: Any) -> None:
    first, second = (one["stop"] for one in ranks[2])
    assert first == second
    _, _, step = first["inside"]
    assert 5 < step < 300
    assert first["between"] == [2, True]


@pytest.mark.parametrize("way", ["interrupted", "interrupted in a group"])
def test_one_rank_that_is_told_to_end_ends_all_and_they_go_on_bit_for_bit(
    ranks: Any, way: str
) -> None:
    first, second = (one[way] for one in ranks[2])
    assert first == second
    assert first["told"], "every rank ends as one that was interrupted"
    assert first["same"]
    assert first["counted"]


@pytest.mark.seed("S2-106")
def test_an_epoch_of_one_process_is_completed_by_two(ranks: Any) -> None:
    _, before, both = ranks
    parts = [one["handed over"]["from one"]["1"] for one in both]
    assert not set(parts[0]) & set(parts[1])
    assert sorted(before + parts[0] + parts[1]) == list(range(SAMPLES))
    assert both[0]["handed over"]["count"] == SAMPLES


def test_an_epoch_of_two_processes_is_completed_by_one(ranks: Any) -> None:
    folder, _, both = ranks
    position = both[0]["handed over"]["position"]
    assert position["global_batch"] == 4
    assert 0 < position["samples"] < SAMPLES
    before = [
        n for one in both for n in one["handed over"]["seen"]["2"][: position["samples"] // 2]
    ]
    seen = Seen()
    trainer = trainer_of(World(), [seen], batch_size=7)
    trainer.load_state_dict(read_checkpoint(folder / "two.pth"))
    metrics = trainer.train(2)
    assert sorted(before + seen.of["2"]) == list(range(SAMPLES))
    assert metrics["train/count"] == SAMPLES


@pytest.mark.seed("S2-106", "S3-79")
def test_the_orders_of_epochs_differ_and_ranks_share_them(ranks: Any) -> None:
    _, _, both = ranks
    seen = Seen()
    trainer_of(World(), [seen], batch_size=4).train(2)
    parts = [one["handed over"]["seen"]["1"] for one in both]
    together = [
        n for begin in range(0, SAMPLES // 2, 2) for part in parts for n in part[begin : begin + 2]
    ]
    assert together[: SAMPLES - 2] == seen.of["1"][: SAMPLES - 2]
    assert seen.of["1"] != seen.of["2"]


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("batch_size", [2, 5, 8, 60])
def test_another_batch_size_takes_the_epoch_up_at_its_sample(
    tmp_path: Path, batch_size: int, accumulate: int
) -> None:
    path = tmp_path / "middle.pth"
    before = save_in_the_middle(path, batch_size=3, batches=7, accumulate=accumulate)
    seen = Seen()
    trainer = trainer_of(World(), [seen], batch_size=batch_size, accumulate=accumulate)
    trainer.load_state_dict(read_checkpoint(path))
    trainer.request_save(path)
    again = Seen()
    metrics = trainer.train(2)
    assert before + seen.of["1"] == Whole.order(1)
    assert seen.of["2"] == Whole.order(2)
    assert metrics["train/count"] == SAMPLES
    other = trainer_of(World(), [again], batch_size=batch_size, accumulate=accumulate)
    other.load_state_dict(read_checkpoint(path))
    other.train(2)
    assert again.of == seen.of


class Whole:
    """The epochs of a run that was never handed over."""

    @staticmethod
    def order(epoch: int) -> list[int]:
        seen = Seen()
        trainer_of(World(), [seen], batch_size=1).train(epoch)
        return seen.of[str(epoch)]
