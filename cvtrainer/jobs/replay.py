"""Run a failed stage again up to the step that went wrong, and say where it began.

The capsule names the last whole checkpoint and the step. From there everything happens again, bit
for bit, while every layer, the loss, every gradient and every move of the optimizer is looked at.
Nothing is written into the run except the report beside its capsule.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.nn import Module

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.core.files import write_whole
from cvtrainer.core.naming import class_name
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.ddp.launch import launch_ranks
from cvtrainer.ddp.world import World, joined_world
from cvtrainer.engine.capsule import Capsule, read_capsule
from cvtrainer.engine.checkpoint import DamagedCheckpointError, read_checkpoint
from cvtrainer.engine.finding import Finding
from cvtrainer.engine.inspection import Inspector
from cvtrainer.engine.points import compile_table
from cvtrainer.engine.randomness import seed_everything
from cvtrainer.experiment import Surroundings
from cvtrainer.experiment.run_checkpoints import newest_checkpoint
from cvtrainer.hooks import CheckpointHook, LoggerHook, NanGuardHook, ProgressBarHook
from cvtrainer.hooks.inspecting import Found, InspectFirst, InspectLast, Reached
from cvtrainer.jobs.resume import Start
from cvtrainer.jobs.session import Session, epochs_of
from cvtrainer.jobs.take_over import sources
from cvtrainer.trainer import Trainer

_WITHOUT = (CheckpointHook, LoggerHook, NanGuardHook, ProgressBarHook)
"""Hooks that only watch and write."""


@dataclass(frozen=True)
class Report:
    """What to tell; `found` is False where the failure did not happen again."""

    lines: list[str]
    found: bool


def replay(source: str | Path, *, device: str | None = None) -> Report:
    """About the newest capsule of a run folder, or about the given one."""
    path, capsule = read_capsule(Path(source))
    written = path.with_suffix(".txt")
    if capsule.world_size > 1 and not World.launched():
        return _replay_in_ranks(path, capsule, written, device)
    run = RunFolder.open(path.parent.parent)
    words = [f"device={device}"] if device else []
    compiled = compile_config(run.path / "config.yaml", words)
    with (
        joined_world(str(compiled.resolved["device"])) as world,
        tempfile.TemporaryDirectory(prefix="cvtrainer-replay-") as folder,
    ):
        around = Surroundings(
            run=RunFolder(Path(folder), run.run_id, run.project, fixed=True),
            world=world,
            seed=compiled.resolved["seed"],
            device=compiled.resolved["device"],
            checkpoints=Path(folder),
            say=_to_stderr,
        )
        session = Session(compiled, around)
        seed_everything(compiled.resolved["seed"], deterministic=compiled.resolved["deterministic"])
        report = _replay(session, run, capsule)
        alone = world.world_size == 1
        if report.found and (alone or not written.is_file()):
            write_whole(written, "\n".join(report.lines) + "\n")
        if report.found and not alone:  # the other ranks wait for this one
            raise RunFailed(report.lines[1])
    return report


def _replay_in_ranks(path: Path, capsule: Capsule, written: Path, device: str | None) -> Report:
    """As many processes as there were; the one that finds something leaves it in the file."""
    written.unlink(missing_ok=True)
    words = ["replay", str(path), *(["--device", device] if device else [])]
    launch_ranks(words, capsule.world_size, device=device or "auto")
    if not written.is_file():
        return Report(_not_again(capsule), found=False)
    return Report(written.read_text(encoding="utf-8").splitlines(), found=True)


def _not_again(capsule: Capsule) -> list[str]:
    return [
        f"it did not happen again up to step {capsule.step}: what differs is the machine, a "
        "version, or an order that the device chose (deterministic: true excludes that)",
    ]


def _replay(session: Session, run: RunFolder, capsule: Capsule) -> Report:
    stage = _stage_of(session.stages, capsule)
    start = _start(session, run, capsule)
    session.resume_lr = capsule.resume_lr
    _take_up_weights(session, run, stage)
    trainer = session.prepare(stage, start)
    began = "its beginning" if start is None else f"step {trainer.clock.step} ({start.path})"
    head = f"stage {capsule.stage}, again from {began}: {capsule.what} at step {capsule.step}"
    _to_stderr(head)
    criterion = getattr(trainer.task, "criterion", None)
    inspector = Inspector(trainer.networks, criterion if isinstance(criterion, Module) else None)
    look_into(trainer, inspector, capsule)
    further: list[str] = []
    try:
        trainer.train(epochs_of(stage, trainer))
        finding = None
    except (Found, Reached) as ended:
        finding = ended.finding
    except UserError:
        raise
    except Exception as error:
        finding = _of_error(error, inspector)
        further = "".join(traceback.format_exception(error)).splitlines()
    finally:
        inspector.detach()
        for stream in trainer.streams.values():
            stream.close()
    if finding is None:
        return Report([head, *_not_again(capsule)], found=False)
    return Report([head, *finding.lines(), *further], found=True)


def _stage_of(stages: Sequence[Mapping[str, Any]], capsule: Capsule) -> Mapping[str, Any]:
    """The stage as it was, less what would hide its layers."""
    for stage in stages:
        if stage["name"] == capsule.stage:
            hooks = [
                node
                for node in stage.get("hooks") or []
                if class_name(node["type"]) != "CompileHook"
            ]
            return {**stage, "hooks": hooks}
    raise UserError(f"its config has no stage {capsule.stage!r}", where="replay")


def _start(session: Session, run: RunFolder, capsule: Capsule) -> Start | None:
    """The checkpoint of the capsule, else the newest whole one that lies before the step."""
    if capsule.checkpoint is None:
        return None
    path = Path(capsule.checkpoint)
    if path.is_file():
        try:
            return Start(path, read_checkpoint(path), run)
        except DamagedCheckpointError as damage:
            _to_stderr(f"{damage}; looking for another one")
    found = newest_checkpoint(run, session.stages, _to_stderr, stage=capsule.stage)
    if found is None or int(found[1]["clock"]["step"]) >= capsule.step:
        _to_stderr(f"{path} is gone; the stage begins anew")
        return None
    return Start(*found, run)


def _take_up_weights(session: Session, run: RunFolder, stage: Mapping[str, Any]) -> None:
    """What earlier stages of the run left for this one."""
    for wanted in sources(stage, session.stages):
        found = newest_checkpoint(run, session.stages, _to_stderr, stage=wanted)
        if found is not None:
            session.left[wanted] = found[1]


def look_into(trainer: Trainer, inspector: Inspector, capsule: Capsule) -> None:
    """Look at everything before and after all other hooks; nobody saves."""
    hooks = {name: hook for name, hook in trainer.hooks.items() if not isinstance(hook, _WITHOUT)}
    first, last = InspectFirst(inspector), InspectLast(inspector, capsule)
    trainer.hooks = {"inspect_first": first, **hooks, "inspect_last": last}
    trainer.table = compile_table(trainer.hooks.values())
    setattr(trainer, "request_save", _not_saved)  # noqa: B010 (this trainer alone)


def _not_saved(path: Path) -> None:
    """A replay leaves the run's checkpoints alone."""


def _of_error(error: Exception, inspector: Inspector) -> Finding:
    """An exception, with the layer it came from."""
    layer = inspector.running
    name = layer or "the step, outside of all layers"
    finding = Finding("error", name, inspector.kind_of(name), type(error).__name__, inspector.place)
    return finding if layer is None else replace(finding, ranges=inspector.ranges_of_inputs(layer))


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
