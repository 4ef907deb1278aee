"""Sharded networks: checkpoints that any number of processes goes on from, whole or absent."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cvtrainer.ddp.world import World
from cvtrainer.engine.checkpoint import (
    DamagedCheckpointError,
    checkpoints_in,
    move_strangers_aside,
    read_checkpoint,
    read_or_before,
)
from tests.ddp.cases import trainer_of
from tests.ddp.pair import run_two_ranks
from tests.ddp.sharded_runs import case, go_on, whole_run
from tests.ddp.test_equal_to_one_process import leaves


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[Any]]:
    """The folder, what one process came to, and what both ranks came to."""
    folder = tmp_path_factory.mktemp("sharded")
    alone = whole_run(case(sharded=True), World(), folder / "alone.pth")
    run_two_ranks("tests.ddp.sharded_runs", str(folder))
    ranks = [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    return folder, alone, ranks


def assert_equal(found: Any, expected: Any, *, bound: float) -> None:
    ours, theirs = leaves(found), leaves(expected)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(ours[key], value, rtol=0, atol=bound, msg=key)
        elif isinstance(value, float):
            assert ours[key] == pytest.approx(value, rel=bound, abs=0), key
        else:
            assert ours[key] == value, key


def test_a_checkpoint_is_a_folder_and_its_run_equals_the_one_without(runs: Any) -> None:
    folder, alone, ranks = runs
    assert (folder / "cut.pth" / "manifest.json").is_file()
    assert (folder / "full.pth").is_file()
    assert_equal(ranks[0]["whole run"], alone, bound=1e-12)
    assert_equal(ranks[0]["whole run, full file"], alone, bound=1e-12)
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("kind", ["cut", "full", "grouped"])
def test_two_ranks_go_on_bit_for_bit(runs: Any, kind: str) -> None:
    _, _, ranks = runs
    whole = {"cut": "whole run", "full": "whole run, full file", "grouped": "whole run, grouped"}
    for found in ranks:
        assert_equal(found[f"on from {kind}"], found[whole[kind]], bound=0)


@pytest.mark.parametrize("name", ["on from alone", "on from alone, in copies"])
def test_two_ranks_go_on_from_one(runs: Any, name: str) -> None:
    _, alone, ranks = runs
    assert_equal(ranks[0][name], alone, bound=1e-12)


@pytest.mark.parametrize("kind", ["cut", "full"])
def test_one_process_goes_on_from_two(runs: Any, kind: str) -> None:
    folder, alone, _ = runs
    assert_equal(go_on(folder / f"{kind}.pth", case(sharded=True), World()), alone, bound=1e-12)


def test_one_process_completes_a_step_that_two_began(runs: Any) -> None:
    folder, _, ranks = runs
    grouped = case(sharded=True, accumulate=3)
    found = go_on(folder / "grouped.pth", grouped, World())
    assert_equal(found, ranks[0]["whole run, grouped"], bound=1e-12)


def test_the_folder_holds_what_the_full_file_holds(runs: Any) -> None:
    folder, _, _ = runs
    cut, full = (read_checkpoint(folder / f"{kind}.pth") for kind in ("cut", "full"))
    for part in ("networks", "optimizers", "hooks", "clock", "metrics"):
        assert_equal(cut[part], full[part], bound=0)


def test_folders_are_pruned_like_files(runs: Any) -> None:
    _, _, ranks = runs
    steps = ["checkpoint_step_10.pth", "checkpoint_step_8.pth"]
    assert ranks[0]["kept"] == ["best_model.pth", *steps, "last.pth"]


def cut_off(folder: Path) -> None:
    part = next(folder.glob("__1_*.distcp"))
    part.write_bytes(part.read_bytes()[:-7])


def flip(folder: Path) -> None:
    part = next(folder.glob("__0_*.distcp"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)


def flip_shared(folder: Path) -> None:
    content = bytearray((folder / "shared.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "shared.pth").write_bytes(content)


def lose(folder: Path) -> None:
    next(folder.glob("__1_*.distcp")).unlink()


def lose_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize("damage", [cut_off, flip, flip_shared, lose, lose_manifest])
def test_damage_is_named_and_the_one_before_used(
    runs: Any, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder, _, _ = runs
    older, newer = tmp_path / "checkpoint_step_1.pth", tmp_path / "checkpoint_step_2.pth"
    for path in (older, newer):
        path.mkdir()
        for part in (folder / "cut.pth").iterdir():
            (path / part.name).write_bytes(part.read_bytes())
    assert checkpoints_in(tmp_path)[0] == newer
    damage(newer)
    with pytest.raises(DamagedCheckpointError, match="checkpoint_step_2"):
        read_checkpoint(newer)
    told: list[str] = []
    path, state = read_or_before(newer, told.append)
    assert path == older
    assert state["clock"]["step"] == 5
    assert len(told) == 1


def test_an_index_that_names_something_else_is_refused(runs: Any, tmp_path: Path) -> None:
    folder, _, _ = runs

    class Evil:
        def __reduce__(self) -> Any:
            return (print, ("ran",))

    place = tmp_path / "evil.pth"
    place.mkdir()
    for part in (folder / "cut.pth").iterdir():
        (place / part.name).write_bytes(part.read_bytes())
    (place / ".metadata").write_bytes(pickle.dumps(Evil()))
    manifest = json.loads((place / "manifest.json").read_text())
    del manifest["files"][".metadata"]
    (place / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DamagedCheckpointError, match="print"):
        read_checkpoint(place)


def test_a_stranger_s_folder_makes_room(runs: Any, tmp_path: Path) -> None:
    folder, _, _ = runs
    place = tmp_path / "last.pth"
    place.mkdir()
    (place / "manifest.json").write_bytes((folder / "cut.pth" / "manifest.json").read_bytes())
    told: list[str] = []
    ours = re.compile(r"last\.pth")
    move_strangers_aside(tmp_path, ours, run_id="mine", stage="train", say=told.append)
    assert not place.exists()
    assert (tmp_path / "run_unknown" / "last.pth" / "manifest.json").is_file()


def test_loading_in_one_process_needs_no_hook(runs: Any) -> None:
    folder, _, _ = runs
    trainer = trainer_of(case(sharded=False), World())
    trainer.load_state_dict(read_checkpoint(folder / "cut.pth"))
    assert trainer.clock.step == 5
