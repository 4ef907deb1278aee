"""Artefacts are measured side by side by real processes; what is broken does not stop the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cvtrainer.cli import main
from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import Port, write_contract
from cvtrainer.jobs.bench.bench import Measure, bench
from cvtrainer.jobs.bench.host import NOT_THE_DEVICE, host_here
from cvtrainer.jobs.bench.member import Member
from cvtrainer.jobs.bench.subjects import Subject
from tests.deploy.package.made import ARTEFACT, contract, network, sources, write

QUICK = Measure(runs=6, rounds=3, warm=1)
WORDS = ["--runs", "6", "--rounds", "3", "--warmup", "1"]
PLAN: dict[str, Any] = {
    "precision": "int8",
    "ram_bytes": 1000,
    "flash_bytes": 1000,
    "macs": 326_000,
    "layers": [
        {"name": "a", "kind": "conv2d", "macs": 326_000, "weight_bytes": 0, "moved_bytes": 0}
    ],
}


def artefact(folder: Path, name: str, **changes: Any) -> Path:
    """An artefact with its contract."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(changes.pop("bytes", network()))
    write_contract(path, contract(**changes))
    return path


def test_artefacts_of_files_folders_and_packages_are_measured_in_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefact(tmp_path / "many", "a.onnx")
    single = artefact(tmp_path / "one", "b.onnx", precision="int8")
    package = write(tmp_path / "model.cvt")
    turns: list[tuple[str, int, int]] = []
    real = Member.measure

    def watched(self: Member, batch: int, order: dict[str, Any]) -> None:
        turns.append((Path(self.name).name, self.threads, batch))
        real(self, batch, order)

    monkeypatch.setattr(Member, "measure", watched)
    words = [str(tmp_path / "many"), str(single), f"{package}:fp32"]
    done = bench(words, replace(QUICK, batches=(4, 1)), say=lambda _: None)
    names = ["a.onnx", "b.onnx", "model.cvt:model-fp32.onnx"]
    assert [turn[0] for turn in turns] == names * 6
    assert [turn[2] for turn in turns] == [1] * 9 + [4] * 9
    assert done.failures == []
    assert len(done.rows) == 6
    for row in done.rows:
        assert row.calls == 6
        assert 0 < row.p50_ms <= row.p90_ms <= row.p99_ms
        hair = 1e-9  # a median is half a sum
        assert row.blocks[0] - hair <= row.p50_ms <= row.blocks[1] + hair
        assert row.per_second == pytest.approx(1000 * row.batch / row.p50_ms)
        assert row.memory_bytes is None or row.memory_bytes > 0
    assert NOT_THE_DEVICE in done.notes


def test_a_broken_artefact_is_a_line_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "all"
    artefact(folder, "good.onnx")
    artefact(folder, "damaged.onnx", bytes=b"nothing")
    artefact(folder, "lying.onnx", input=Port("x", "float32", (None, 5, 8, 8)))
    artefact(folder, "other.engine", target="tensorrt")
    (folder / "text.onnx.contract.json").write_text("{")
    (folder / "text.onnx").write_text("")
    assert main(["bench", str(folder / "good.onnx"), str(tmp_path / "none.onnx"), *WORDS]) == 1
    told = capsys.readouterr()
    assert "none.onnx: no such file or folder" in told.err
    assert "good.onnx" in told.out
    (folder / "text.onnx.contract.json").unlink()
    plot = tmp_path / "bars.png"
    assert main(["bench", str(folder), "--json", "--plot", str(plot), *WORDS]) == 1
    told = capsys.readouterr()
    values = json.loads(told.out)
    assert [Path(one["name"]).name for one in values["artefacts"]] == ["good.onnx"]
    assert len(values["failures"]) == 2
    damaged, lying = values["failures"]
    assert "damaged.onnx: ONNX Runtime cannot open it" in damaged
    assert "lying.onnx: " in lying
    assert "artefacts of tensorrt do not run here; left out" in values["notes"][0]
    assert values["artefacts"][0]["measured"][0]["calls"] == 6
    assert Image.open(plot).size[0] > 500
    packed = write(tmp_path / "bad.cvt", {**sources(), ARTEFACT: b"nothing"})
    assert main(["bench", str(packed), *WORDS]) == 1
    told = capsys.readouterr()
    assert "bad.cvt:model-fp32.onnx: ONNX Runtime cannot open it" in told.err
    assert "cvtrainer-" not in told.err


def test_a_process_that_dies_is_told_by_its_signal(tmp_path: Path) -> None:
    path = artefact(tmp_path / "one", "a.onnx")
    member = Member(Subject("a", path, contract(), 1), 1)
    member.open()
    member._process.kill()
    with pytest.raises(UserError, match="a: its process was ended by SIGKILL"):
        member.measure(1, {"runs": 1, "warm": 0, "seconds": 1})
    member.close()


def test_one_that_takes_one_at_a_time_is_not_given_more(tmp_path: Path) -> None:
    fixed = artefact(
        tmp_path / "one",
        "a.onnx",
        input=Port("x", "float32", (1, 3, 8, 8)),
        proof={"proven": False},
    )
    done = bench([str(fixed)], replace(QUICK, batches=(1, 8)), say=lambda _: None)
    assert [row.batch for row in done.rows] == [1]
    assert any("takes 1 at a time; not measured: 8" in note for note in done.notes)
    assert any("is not proven" in note for note in done.notes)


def test_the_folder_that_one_is_in_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    artefact(tmp_path / "all", "a.onnx")
    monkeypatch.chdir(tmp_path / "all")
    assert main(["bench", ".", *WORDS]) == 0
    assert "a.onnx" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    for word in (".", "/", ".."):
        assert main(["bench", word, *WORDS]) == 1
        assert f"{word}: no contract is beside it, and none in it" in capsys.readouterr().err


def test_threads_that_are_not_heeded_are_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cvtrainer.jobs.bench.bench.OWN_THREADS", ("onnx",))
    path = artefact(tmp_path / "all", "own.onnx")
    plot = tmp_path / "bars.png"
    assert main(["bench", str(path), "--threads", "2,1", "--plot", str(plot), *WORDS]) == 0
    told = capsys.readouterr()
    assert "own.onnx: onnx takes threads of its own, whatever --threads says." in told.out
    (row,) = [line for line in told.out.splitlines() if line.startswith(str(path))][:1]
    assert row.split()[1:4] == ["its", "own", "1"]
    assert told.err.count("opened") == 1


def test_an_estimate_is_beside_the_figures_and_says_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = artefact(tmp_path / "one", "a.onnx", plan=PLAN, precision="int8")
    bare = artefact(tmp_path / "two", "b.onnx")
    words = ["bench", str(planned), str(bare), "--device", "stm32h7,raspberry-pi-4", *WORDS]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "a.onnx: estimate for STM32H743, not measured: 1 ms in int8" in told
    assert "a.onnx: estimate for Raspberry Pi 4, not measured: 0.00679 ms" in told
    assert "b.onnx has no plan in its contract, so no estimate." in told
    assert main(["bench", str(planned), "--device", "stm32z9"]) == 2


@pytest.mark.parametrize(
    "words", [["--threads", "0"], ["--threads", "x"], ["--runs", "0"], ["--seconds", "0"]], ids=str
)
def test_a_call_that_cannot_be_is_refused(words: list[str]) -> None:
    assert main(["bench", "a.onnx", *words]) == 2


def test_instruction_sets_are_read_and_their_lack_is_said(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "model name\t: Some CPU\nflags\t\t: fpu sse4_2 avx2 fma\n\nflags : avx512f\n"
    )
    old = host_here(cpuinfo)
    assert old.processor == "Some CPU"
    assert old.instructions == ("sse4_2", "avx2", "fma")
    assert any("VNNI" in note and "int8 may be slower here" in note for note in old.notes({"int8"}))
    assert old.notes({"fp32"}) == [NOT_THE_DEVICE]
    cpuinfo.write_text("processor : 0\nFeatures : fp asimd asimddp\nModel : A board\n")
    arm = host_here(cpuinfo)
    assert arm.instructions == ("asimd", "asimddp")
    assert arm.notes({"int8"}) == [NOT_THE_DEVICE]
    unknown = host_here(tmp_path / "none")
    assert unknown.instructions is None
    assert "is not known here" in unknown.notes({"int8"})[1]


def test_torch_is_not_needed(tmp_path: Path) -> None:
    """Neither for giving orders nor in the process that measures."""
    path = artefact(tmp_path / "one", "a.onnx", plan=PLAN)
    blocked = tmp_path / "blocked" / "torch"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('torch is not here')\n")
    root = Path(__file__).parents[3]
    code = f"import sys; sys.path[:0] = [{str(blocked.parent)!r}, {str(root)!r}]\n"
    code += "from cvtrainer.cli import main\n"
    code += f"sys.exit(main(['bench', {str(path)!r}, '--device', 'stm32h7', '--runs', '2']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{blocked.parent}:{root}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "estimate for STM32H743" in done.stdout
