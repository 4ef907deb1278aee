"""Worker processes: started in any way, ended cleanly, and named when they are lost."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.data.pipeline import Parts
from cvtrainer.data.stream import LoaderStream
from tests.data.stream.makers import Tiles, ends, numbers, stream_of

HERE = Path(__file__)
ROOT = HERE.parents[3]


def processes_of(dataset: Any, **options: Any) -> LoaderStream:
    """Two worker processes, copies of this one."""
    words = {"num_workers": 2, "workers": "processes", "multiprocessing_context": "fork"}
    return stream_of(dataset, **{**words, **options})


def workers_in(batches: Any) -> set[int]:
    """The processes that made these batches."""
    return {pid for batch in batches for pid in batch["meta"]["process"]}


def mapped_blocks() -> int:
    """How many nameless blocks this process has in sight."""
    return Path("/proc/self/maps").read_text().count("memfd:batch")


@pytest.mark.parametrize("way", ["fork", "forkserver", "spawn"])
def test_every_way_of_starting_gives_the_same(way: str) -> None:
    stream = processes_of(Tiles(22, side=80), num_workers=1, multiprocessing_context=way)
    plain = list(stream_of(Tiles(22, side=80)).epoch(1))
    made = list(stream.epoch(1))
    assert workers_in(made).isdisjoint({os.getpid()})
    for one, other in zip(plain, made, strict=True):
        assert torch.equal(one["x"], other["x"])
        assert torch.equal(one["target"]["class_id"], other["target"]["class_id"])
        assert one["meta"]["path"] == other["meta"]["path"]
    stream.close()


def test_parts_that_cannot_travel_are_copied_with_the_process() -> None:
    def local(samples: Any) -> dict[str, Any]:
        return {"n": torch.tensor([sample["meta"]["index"] for sample in samples])}

    said: list[str] = []
    options = {"batch_size": 4, "num_workers": 1, "collate_fn": local}
    stream = LoaderStream(Parts(Tiles(8)), options=options, say=said.append)
    assert [batch["n"].tolist() for batch in stream.epoch(1)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert "processes (fork)" in said[0]
    stream.close()
    spawned = stream_of(Tiles(8), num_workers=1, collate_fn=local, multiprocessing_context="spawn")
    with pytest.raises(UserError, match=r"spawn: the parts of the data cannot be handed"):
        next(spawned.epoch(1))


def test_parts_that_cannot_be_opened_there_are_copied_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    def __call__(self, sample, key):\n        return sample\n"
    )
    script = tmp_path / "mine_loads.py"
    script.write_text(
        "import sys, types\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "module = types.ModuleType('only_here'); sys.modules['only_here'] = module\n"
        f"exec(open({str(tmp_path / 'mine.py')!r}).read(), module.__dict__)\n"
        "from cvtrainer.data.pipeline import Parts\n"
        "from cvtrainer.data.stream import LoaderStream\n"
        "from tests.data.stream.makers import Tiles, numbers\n"
        "sys.modules['__main__'].__spec__ = object()\n"
        "import multiprocessing.spawn as spawn\n"
        "spawn.get_preparation_data = lambda name: {'name': name, 'sys_path': sys.path}\n"
        "parts = Parts(Tiles(8), transforms=module.Mine())\n"
        "stream = LoaderStream(parts, options={'batch_size': 4, 'num_workers': 1}, say=print)\n"
        "print(numbers(stream.epoch(1)))\n"
        "stream.close()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 processes (fork)" in done.stdout
    assert "[0, 1, 2, 3, 4, 5, 6, 7]" in done.stdout


def test_large_tensors_are_not_copied_and_memory_is_taken_up_again() -> None:
    stream = processes_of(Tiles(160, side=120))
    for batch in stream.epoch(1):
        held = batch["x"]
    settled = mapped_blocks()
    assert 0 < settled <= 16
    for epoch in (2, 3, 4):
        for batch in stream.epoch(epoch):
            assert (batch["x"][:, 0, 0, 0] == batch["target"]["class_id"]).all()
            assert (held == held[:, :1, :1, :1]).all(), "a batch in use is left alone"
            held = batch["x"]
    assert mapped_blocks() <= settled + 2
    kept = list(stream.epoch(5))
    assert numbers(kept) == list(range(160))
    assert all((b["x"][:, 0, 0, 0] == b["target"]["class_id"]).all() for b in kept)
    stream.close()
    assert (kept[3]["x"][:, 0, 0, 0] == kept[3]["target"]["class_id"]).all(), "outlives its worker"
    del kept, batch, held
    gc.collect()


def test_the_memory_goes_with_the_workers() -> None:
    before = mapped_blocks()
    stream = processes_of(Tiles(16, side=120))
    list(stream.epoch(1))
    assert mapped_blocks() > before
    stream.close()
    del stream
    gc.collect()
    assert mapped_blocks() == before


def test_any_value_and_order_of_dimensions_travels() -> None:
    def collate(samples: Any) -> dict[str, Any]:
        base = torch.arange(4 * 3 * 40 * 40, dtype=torch.float32).view(4, 3, 40, 40)
        return {
            "plain": base,
            "last": base.to(memory_format=torch.channels_last),
            "turned": base.transpose(2, 3),
            "bool": base > 7,
            "half": base.half(),
            "none": torch.empty(0, 3),
            "one": torch.tensor(3.5, dtype=torch.float64),
            "twice": [base, base],
            "sparse": torch.eye(3).to_sparse(),
            "text": "ü",
            "pair": (torch.arange(3), None),
        }

    plain = next(stream_of(Tiles(4), collate_fn=collate).epoch(1))
    stream = processes_of(Tiles(4), collate_fn=collate)
    there = next(stream.epoch(1))
    for name in ("plain", "last", "turned", "bool", "half", "none", "one"):
        assert torch.equal(plain[name], there[name]), name
        assert plain[name].dtype == there[name].dtype
    assert there["last"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(there["twice"][1], plain["plain"])
    assert torch.equal(there["sparse"].to_dense(), torch.eye(3))
    assert there["text"] == "ü"
    assert there["pair"][0].tolist() == [0, 1, 2]
    there["plain"].add_(1)
    stream.close()


@pytest.mark.seed("S3-86")
@pytest.mark.parametrize(
    ("does", "how"), [("die", "was killed by SIGKILL"), ("exit", "exit code 3")]
)
def test_a_lost_worker_is_named_with_its_file(does: str, how: str) -> None:
    stream = processes_of(Tiles(at=6, does=does))
    epoch = stream.epoch(1)
    began = time.monotonic()
    with pytest.raises(RunFailed) as told:
        list(epoch)
    assert time.monotonic() - began < 5
    text = str(told.value)
    assert text.startswith("tiles/6.png: data worker ")
    assert how in text
    assert "while making sample 6 (of a batch of tiles/4.png, tiles/5.png, tiles/6.png" in text
    assert numbers(stream.epoch(1, start=3)) == list(range(12, 24)), "a new crew takes over"
    stream.close()


def test_a_worker_that_is_killed_while_it_waits_is_named() -> None:
    stream = processes_of(Tiles(), prefetch_queue_size=2)
    worker = next(iter(workers_in(stream.epoch(1))))
    os.kill(worker, signal.SIGKILL)
    assert ends(worker, 5)
    with pytest.raises(RunFailed, match=rf"process {worker}\) was killed by SIGKILL"):
        list(stream.epoch(2))
    stream.close()


@pytest.mark.seed("S3-86")
def test_a_stuck_worker_is_named_with_its_file_and_ended() -> None:
    stream = processes_of(Tiles(at=6, does="sleep"), stuck_after=1.0)
    epoch = stream.epoch(1)
    first = next(epoch)
    began = time.monotonic()
    with pytest.raises(RunFailed, match=r"^tiles/6.png: data worker \d .* has been stuck for 1 s"):
        next(epoch)
    assert time.monotonic() - began < 6
    assert all(ends(pid, 2) for pid in workers_in([first]))


def test_slow_samples_are_not_taken_for_stuck_ones() -> None:
    from tests.data.stream.makers import Slow

    stream = LoaderStream(
        Parts(Slow(128)),
        options={
            "batch_size": 64,
            "num_workers": 1,
            "workers": "processes",
            "stuck_after": 0.3,
            "multiprocessing_context": "fork",
        },
    )
    assert len(numbers(stream.epoch(1))) == 128, "a batch takes 0.64 s, a sample 0.01 s"
    stream.close()


@pytest.mark.timeout(60)
def test_requests_and_batches_larger_than_a_pipe_do_not_wait_for_each_other() -> None:
    words = {"batch_size": 16_000, "prefetch_queue_size": 8}
    stream = processes_of(Tiles(64_000, side=1), num_workers=1, **words)
    assert len(numbers(stream.epoch(1))) == 64_000
    stream.close()


def test_closing_leaves_nobody_behind() -> None:
    stream = processes_of(Tiles(4000), prefetch_queue_size=16)
    epoch = stream.epoch(1)
    pids = workers_in([next(epoch)])
    stream.close()
    assert all(not Path(f"/proc/{pid}").exists() for pid in pids), "ended and collected"
    stream.close()
    forgotten = processes_of(Tiles())
    pids = workers_in(forgotten.epoch(1))
    del forgotten
    gc.collect()
    assert all(ends(pid, 3) for pid in pids)


SCRIPT = """
import os, sys, time
sys.path.insert(0, {root!r})
from tests.data.stream.makers import Tiles, stream_of
if __name__ == "__main__":
    stream = stream_of(Tiles(4000), num_workers=2, workers="processes",
                       multiprocessing_context={way!r})
    epoch = stream.epoch(1)
    pids = set()
    while len(pids) < 2:
        pids.update(next(epoch)["meta"]["process"])
    print(*pids, flush=True)
    {then}
"""


@pytest.mark.parametrize(
    ("how", "way"),
    [
        (signal.SIGKILL, "fork"),
        (signal.SIGKILL, "forkserver"),
        (signal.SIGINT, "fork"),
        (None, "forkserver"),
        pytest.param(signal.SIGINT, "forkserver", marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, "fork", marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, "forkserver", marks=pytest.mark.long),
        pytest.param(None, "fork", marks=pytest.mark.long),
    ],
)
def test_workers_end_with_their_parent(tmp_path: Path, way: str, how: int | None) -> None:
    script = tmp_path / "parent.py"
    then = "time.sleep(60)" if how else "sys.exit(0)"
    script.write_text(SCRIPT.format(root=str(ROOT), way=way, then=then))
    parent = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )
    assert parent.stdout is not None
    assert parent.stderr is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    if how is signal.SIGINT:
        for pid in pids:
            os.kill(pid, signal.SIGINT)
        time.sleep(0.3)
        assert all(Path(f"/proc/{pid}").exists() for pid in pids), "Ctrl-C is for the parent"
    if how is not None:
        parent.send_signal(how)
    parent.wait(timeout=20)
    assert all(ends(pid, 5) for pid in pids)
    told = parent.stderr.read()
    assert "leaked" not in told
    parent.stdout.close()
    parent.stderr.close()


def _hear_ctrl_c() -> None:
    """What a shell starts in its background ignores it, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_workers_are_ended_after_each_epoch_where_that_is_asked() -> None:
    stream = processes_of(Tiles(), persistent_workers=False)
    first = workers_in(stream.epoch(1))
    second = workers_in(stream.epoch(2))
    assert not first & second
    assert all(ends(pid, 2) for pid in first | second)


def test_an_epoch_may_be_looked_at_from_the_middle_of_another() -> None:
    stream = processes_of(Tiles(), persistent_workers=False)
    alone = [batch["x"].clone() for batch in stream.epoch(1)]
    outer = stream.epoch(1)
    begun = [next(outer)["x"].clone()]
    assert len(list(stream.epoch(2))) == len(alone)
    begun += [batch["x"].clone() for batch in outer]
    assert all(torch.equal(one, other) for one, other in zip(alone, begun, strict=True))
