"""Run folders: never shared, complete, and clear about places that cannot be written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.core.load import find_config, load_file
from cvtrainer.core.run_folder import RunFolder


def test_many_at_once_get_one_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: RunFolder.create("p", "n", root=tmp_path), range(16)))
    assert len({run.path for run in runs}) == 16
    assert len({run.run_id for run in runs}) == 16
    assert all(run.path.parent == tmp_path / "p" for run in runs)
    assert all(run.path.name.startswith("n_20") for run in runs)
    assert all(run.checkpoints.is_dir() and run.artifacts.is_dir() for run in runs)


def test_a_name_may_hold_folders(tmp_path: Path) -> None:
    run = RunFolder.create("p", "sweep/one", root=tmp_path)
    assert run.path.parent == tmp_path / "p" / "sweep"


@pytest.mark.seed("S0-15")
def test_runs_land_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        assert (RunFolder.create("p", "n").path / "run.json").is_file()
        assert len(list((tmp_path / place / "runs" / "p").iterdir())) == 1


def test_a_run_folder_is_a_config(tmp_path: Path) -> None:
    run = RunFolder.create("p", "n", root=tmp_path)
    with pytest.raises(UserError, match="is a folder"):
        find_config(run.path)
    written = run.write_config({"seed": 1})
    assert find_config(run.path) == written


def test_open_finds_the_same_run(tmp_path: Path) -> None:
    run = RunFolder.create("p", "n", root=tmp_path)
    assert RunFolder.open(run.path).run_id == run.run_id
    with pytest.raises(UserError, match=r"is no run folder"):
        RunFolder.open(tmp_path)


def test_an_earlier_run_in_a_fixed_folder_is_moved_aside(tmp_path: Path) -> None:
    fixed = tmp_path / "fixed"
    first = RunFolder.create("p", "n", fixed)
    assert first.moved_aside is None
    (fixed / "checkpoints" / "a.pth").write_text("weights")
    (fixed / "mine.txt").write_text("not ours")
    first.close()
    second = RunFolder.create("p", "n", fixed)
    assert second.moved_aside is not None
    assert (second.moved_aside / "checkpoints" / "a.pth").read_text() == "weights"
    assert RunFolder.open(second.moved_aside).run_id == first.run_id
    assert not list(second.checkpoints.iterdir())
    assert (fixed / "mine.txt").exists()


def test_a_fixed_folder_belongs_to_one_living_run(tmp_path: Path) -> None:
    first = RunFolder.create("p", "n", tmp_path / "fixed")
    with pytest.raises(UserError, match="another run is using this folder"):
        RunFolder.create("p", "n", tmp_path / "fixed")
    assert RunFolder.open(tmp_path / "fixed").run_id == first.run_id
    first.close()
    RunFolder.create("p", "n", tmp_path / "fixed").close()


def test_an_output_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as caught:
        RunFolder.create("p", "n", root=tmp_path / "file")
    assert "\n" not in str(caught.value)
    assert "Choose a folder you may write to." in str(caught.value)
    with pytest.raises(UserError, match="cannot write here"):
        RunFolder.create("p", "n", tmp_path / "file")


def test_environment_is_known_without_torch(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from cvtrainer.core.run_folder import RunFolder\n"
        "RunFolder.create('p', 'n', sys.argv[1]).write_environment({'device': 'cpu'})\n"
        "assert 'torch' not in sys.modules\n"
    )
    fixed = tmp_path / "run"
    subprocess.run([sys.executable, "-c", program, str(fixed)], check=True)
    facts = json.loads((fixed / "environment.json").read_text())
    assert facts["device"] == "cpu"
    assert facts["packages"]["torch"]
    assert facts["argv"][1] == str(fixed)
    assert facts["python"].startswith("3.")


def test_a_saved_config_keeps_literal_references(tmp_path: Path) -> None:
    from cvtrainer.core.compose import compose

    run = RunFolder.create("p", "n", root=tmp_path)
    data = {"text": "costs ${five}", "deep": [{"a": "$5"}]}
    path = run.write_config(data)
    assert compose(load_file(path), path).data == data


def test_the_quarantine_is_one_list_for_a_project(tmp_path):
    runs = [RunFolder.create("p", "n", root=tmp_path) for _ in range(2)]
    assert {run.quarantine for run in runs} == {tmp_path / "p" / "quarantine.jsonl"}
    fixed = RunFolder.create("p", "n", tmp_path / "here")
    assert fixed.quarantine == RunFolder.open(fixed.path).quarantine
    assert fixed.quarantine == tmp_path / "here" / "quarantine.jsonl"


FORKS_AND_WAITS = """
import os, sys, time
from cvtrainer.core.run_folder import RunFolder
run = RunFolder.create('p', 'n', root=sys.argv[1])
if os.fork() == 0:
    time.sleep(60)
print(run.path, flush=True)
time.sleep(60)
"""


def test_a_run_that_lives_is_not_resumed_and_a_killed_one_is_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKS_AND_WAITS, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        path = process.stdout.readline().strip()
        with pytest.raises(UserError, match="another run is using this folder"):
            RunFolder.open(path).hold()
        process.kill()  # its child lives on, as data workers do for a moment
        run = RunFolder.open(path)
        run.hold()
        with pytest.raises(UserError, match="another run is using this folder"):
            RunFolder.open(path).hold()
        run.close()
        again = RunFolder.open(path)
        again.hold()
        again.close()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
