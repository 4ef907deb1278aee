"""With two ranks the first one writes behind their backs; both hear of it at the same border."""

from __future__ import annotations

import json
from pathlib import Path

from cvtrainer.engine.checkpoint import checkpoints_in, read_checkpoint
from tests.ddp.several import run_ranks


def test_both_ranks_hear_of_a_file_at_one_border(tmp_path: Path) -> None:
    ended = run_ranks("tests.ddp.saving_ranks", str(tmp_path), "slow")
    assert ended.codes == [0, 0], ended.told
    told = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert told[0] == told[1]
    assert [name for name, _, _ in told[0]] == [
        *(f"checkpoint_step_{step}.pth" for step in (5, 10, 15, 20, 25)),
        "last.pth",
    ]
    assert all(there and at >= 5 for _, at, there in told[0])
    assert told[0][0][1] == 10  # it waited for the next save, not for the disk
    files = {path.name: read_checkpoint(path) for path in checkpoints_in(tmp_path / "c")}
    assert sorted(files) == ["checkpoint_step_20.pth", "checkpoint_step_25.pth", "last.pth"]
    assert files["checkpoint_step_20.pth"]["clock"]["step"] == 20
    assert len(files["last.pth"]["random"]) == 2


def test_a_disk_that_is_full_ends_both(tmp_path: Path) -> None:
    ended = run_ranks("tests.ddp.saving_ranks", str(tmp_path), "full")
    assert 0 not in ended.codes
    assert ended.told.count("no space for checkpoint_step_5.pth") == 1
