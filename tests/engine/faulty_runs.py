"""Runs that meet a fault while they write a checkpoint, each in a process of its own.

    python -m tests.engine.faulty_runs

Each line of the input lists runs: a folder, whether to resume there, and a fault. The modules are
imported once and every run is a fork of that. The answer to a line says, per run, how it ended and
what it said.
"""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
import tempfile
import traceback
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvtrainer.core import files
from cvtrainer.core.errors import UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.engine.checkpoint import checkpoints_in, first_whole
from cvtrainer.engine.randomness import seed_everything
from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.hooks.ema import EMAHook
from cvtrainer.meters import AccuracyMeter, LossMeter
from cvtrainer.trainer import Trainer
from tests.toy import BatchList, batches, toy_trainer

EPOCHS = 2
FINAL = "final.pth"
SMALL_LIMIT = 9000
"""Bytes a file may have under the real limit; a checkpoint of these runs has about 20,000."""


@dataclass(frozen=True)
class Fault:
    """What happens at an event (open, write, fsync, replace, folder), counted from the first save.

    kill: the process is gone before it. torn: in the midst of it. full: there is no space from
    there on. short: the system takes less and says so. hidden: it takes less and does not, and the
    process is gone before it opens another file.
    """

    kind: str
    event: int


class Disk:
    """Counts what is done to checkpoint files, and does the fault when its event has come."""

    def __init__(self, fault: Fault | None) -> None:
        self.fault = fault
        self.events: list[str] = []
        self._real = (os.fsync, os.replace, files.sync_folder)

    def install(self) -> None:
        fsync, replace, sync_folder = self._real

        def ours(path: Any) -> bool:
            return Path(path).parent.name == "checkpoints"

        def opened(path: Any, *words: Any) -> Any:
            if not ours(path):
                return open(path, *words)
            self.at("open")
            return io.BufferedRandom(_Raw(self, path))

        def renamed(source: Any, target: Any) -> None:
            if ours(target):
                self.at("replace")
            replace(source, target)

        def synced(folder: Path) -> None:
            if folder.name == "checkpoints":
                self.at("folder")
            sync_folder(folder)

        def flushed(descriptor: int) -> None:
            if ours(os.readlink(f"/proc/self/fd/{descriptor}")):
                self.at("fsync")
            fsync(descriptor)

        files.open = opened  # type: ignore[attr-defined]
        files.sync_folder = synced
        os.fsync, os.replace = flushed, renamed

    def at(self, event: str) -> bool:
        """Whether the fault is due here; some kinds do not return."""
        self.events.append(event)
        late = self.fault is not None and len(self.events) - 1 > self.fault.event
        if late and self.fault.kind == "hidden" and event == "open":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault is None or len(self.events) - 1 != self.fault.event:
            if late and self.fault.kind == "full":  # it stays full
                raise OSError(errno.ENOSPC, "No space left on device")
            return False
        if self.fault.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault.kind == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        return True


class _Raw(io.FileIO):
    """What lies below Python's buffer: a call is one write of the system."""

    def __init__(self, disk: Disk, path: Any) -> None:
        super().__init__(path, "x+b")
        self.disk = disk

    def write(self, content: Any) -> int:
        whole = memoryview(content)
        if not self.disk.at("write"):
            return super().write(whole)
        written = super().write(whole[: max(1, len(whole) // 2)])
        assert self.disk.fault is not None
        if self.disk.fault.kind == "torn":
            os.kill(os.getpid(), signal.SIGKILL)
        return len(whole) if self.disk.fault.kind == "hidden" else written


def trainer(folder: Path, run: RunFolder) -> Trainer:
    """Two epochs of three steps: a file each step of which two stay, the two best, the last."""
    seed_everything(0)
    hooks = [
        EMAHook(decay=0.9),
        CheckpointHook(save_steps=1, save_freq=0, max_keep=2, save_top_k=2, save_last="end"),
    ]
    made = toy_trainer(
        hooks,
        meters=[LossMeter(), AccuracyMeter()],
        train=BatchList(batches(3), shuffle=True),
        run=run,
        lr=0.02,
    )
    made.hooks["checkpoint"].save_dir = str(run.checkpoints)
    return made


def work(folder: Path, *, resume: bool, fault: Fault | None, limit: bool) -> dict[str, Any]:
    """Train to the end, or to the fault; what was said, and the events."""
    disk = Disk(fault)
    said: list[str] = []
    place = folder / "run"
    run = RunFolder.open(place) if resume else RunFolder.create("toys", "toy", fixed=place)
    made = trainer(folder, run)
    if resume:
        found = first_whole(checkpoints_in(run.checkpoints), said.append)
        if found is not None:
            made.load_state_dict(found[1])
            said.append(f"from {found[0].name}")
    disk.install()
    if limit:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_LIMIT, resource.RLIM_INFINITY))
    try:
        made.train(EPOCHS)
    except UserError as error:
        return {"failed": str(error), "said": said, "events": disk.events}
    made.save(folder / FINAL)
    return {"failed": None, "said": said, "events": disk.events}


def in_a_fork(run: dict[str, Any]) -> dict[str, Any]:
    """How it ended (None: a SIGKILL) and what it gave."""
    source, target = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        try:
            with redirect_stderr(io.StringIO()):
                fault = Fault(**run["fault"]) if run.get("fault") else None
                outcome = work(
                    Path(run["folder"]),
                    resume=run.get("resume", False),
                    fault=fault,
                    limit=run.get("limit", False),
                )
            with os.fdopen(target, "w") as stream:
                json.dump(outcome, stream)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(target)
    with os.fdopen(source) as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    return {
        "killed": os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL,
        **(json.loads(text) if text else {"failed": None, "said": [], "events": []}),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        place = Path(folder)  # what torch imports when it is first used, once for all forks
        trainer(place, RunFolder.create("toys", "toy", fixed=place)).train(EPOCHS)
    for line in sys.stdin:
        print(json.dumps([in_a_fork(one) for one in json.loads(line)]), flush=True)


if __name__ == "__main__":
    main()
