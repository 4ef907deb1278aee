"""The benchmarks measure what they say; their budgets are checked by `make bench`, not here."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.near_empty import HandWritten, TimedBatches, alternate, make_pairs, table
from benchmarks.peers.run import REQUIREMENTS, peers
from tests.packaging.test_distribution import project


def test_alternate_reports_the_added_time() -> None:
    """A block that sleeps a millisecond a step costs about that much more than by hand."""
    steps = 20
    hand = HandWritten()
    pairs = make_pairs(steps)

    def block() -> float:
        start = time.perf_counter()
        for pair in pairs:
            hand.run([pair])
            time.sleep(1e-3)
        return time.perf_counter() - start

    cost = alternate(block, steps=steps, blocks=3)
    assert cost.difference_us >= 1000
    assert cost.ratio > 1


def test_timed_batches_see_the_time_between_requests() -> None:
    """Also when nobody asks after the last batch."""
    batches = TimedBatches([1, 2, 3])
    iterator = iter(batches)
    for _ in range(3):
        next(iterator)
        time.sleep(2e-3)
    assert batches.seconds_per_step >= 2e-3
    assert len(batches) == 3


def test_loss_curve_equals_the_hand_written_loop() -> None:
    """Our loop computes the very same numbers, bit for bit."""
    from benchmarks.loop_overhead import curve_is_equal

    assert curve_is_equal(200)


def test_both_variants_train(tmp_path: Path) -> None:
    """The measured trainers run an epoch, the equipped one leaving its files."""
    from benchmarks.loop_overhead import as_batches, bare, equipped

    batches = as_batches(make_pairs(20))
    bare(batches, tmp_path).train(1)
    equipped(batches, tmp_path).train(1)
    assert (tmp_path / "checkpoint_epoch_1.pth").is_file()
    assert (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").strip()


def test_startup_knows_who_imports_torch() -> None:
    """The column is read from Python's own import log."""
    from benchmarks.startup import Command, imports_torch

    assert imports_torch(Command("torch", ("-c", "import torch")))
    assert not imports_torch(Command("help", ("-m", "cvtrainer.cli", "--help")))


def test_table_aligns() -> None:
    """Words to the left, numbers to the right."""
    assert table(["a", "b"], [["long", "1"], ["c", "22"]]) == "\n".join(
        ["a      b", "----  --", "long   1", "c     22"]
    )


def test_every_peer_has_a_script_and_pinned_requirements(root: Path) -> None:
    """Seven scripts, each with its pins, and what they measure is none of our extras."""
    assert len(peers()) == 7
    ours = {text.split("=")[0].split(">")[0] for text in project(root)["dependencies"]}
    for extra in project(root)["optional-dependencies"].values():
        ours |= {text.split("=")[0].split(">")[0] for text in extra}
    for name in peers():
        tree = ast.parse((root / "benchmarks" / "peers" / f"{name}.py").read_text("utf-8"))
        assert ast.get_docstring(tree)
        for line in (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").split():
            package, _, version = line.partition("==")
            assert version, line
            assert package in ("torch", "torchmetrics") or package not in ours


@pytest.mark.long
def test_the_startup_table_prints(root: Path) -> None:
    """One round over all commands succeeds."""
    line = [sys.executable, "-m", "benchmarks.startup", "--rounds", "1"]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, check=False)
    assert "cvtrainer config check" in done.stdout, done.stderr


def test_every_way_of_saving_leaves_its_files(tmp_path: Path) -> None:
    """The measured runs save what they are said to save."""
    from benchmarks.checkpoint import EVERY, seconds, ways

    for place, name in enumerate(ways(tmp_path)):
        folder = tmp_path / str(place)
        folder.mkdir()
        assert seconds(ways(folder)[name](), size=2, steps=EVERY) > 0
        large = [path for path in folder.iterdir() if path.stat().st_size > 95e6]
        assert len(large) == (name != "nothing saved"), name
