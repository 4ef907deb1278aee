"""The data that a command is about: the splits of a config's stage, or what lies at a path.

A path becomes the same blocks that a config has, so both are opened in one way. Splits that
cannot be opened are kept beside those that can, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors, UserError
from cvtrainer.core.override import parse_value
from cvtrainer.data.detection import Candidate, candidates
from cvtrainer.data.survey import Subject
from cvtrainer.experiment import PHASES, Builder, Data

FOLDERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("train", "training"),
        "val": ("val", "valid", "validation"),
        "test": ("test", "testing"),
    }
)
"""Names of folders and lists that say which split they hold."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for; either `config` or `path` is given."""

    path: str | None = None
    config: str | None = None
    overrides: Sequence[str] = ()
    stage: str | None = None
    phase: str | None = None
    type: str | None = None
    arguments: Sequence[str] = ()
    splits: Sequence[str] = ()


@dataclass
class Opened:
    """The splits in their order; `broken` says why one could not be opened."""

    subjects: list[Subject] = field(default_factory=list)
    blocks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    broken: dict[str, UserError] = field(default_factory=dict)
    data: Data | None = None
    seed: int = 0
    complete: bool = True
    """Whether these are all the splits that there are."""
    evidence: list[str] = field(default_factory=list)

    def require_all(self) -> Opened:
        """Itself, or the first reason why a split could not be opened."""
        for error in self.broken.values():
            raise error
        return self


def open_data(request: Request) -> Opened:
    """Open every split that is asked for; what training finds binds the others."""
    near, blocks, seed, complete = _blocks(request)
    opened = Opened(data=Data(Builder(near)), seed=seed, complete=complete)
    assert opened.data is not None
    classes: list[str] | None = None
    for split, block in blocks.items():
        opened.blocks[split] = block
        try:
            dataset = opened.data.dataset(block, split, classes, say=opened.evidence.append)
            opened.subjects.append(Subject(split, dataset))
        except TypeError as error:
            if request.config is not None:
                raise
            opened.broken[split] = UserError(str(error), todo="Give arguments with --set.")
            continue
        except UserError as error:
            opened.broken[split] = error
            continue
        names = getattr(dataset, "classes", None)
        if classes is None and names:
            classes = [str(name) for name in names]
    return opened


def _blocks(request: Request) -> tuple[Path | None, dict[str, Any], int, bool]:
    if request.config is not None:
        return _of_config(request)
    if request.path is None:
        raise UserError("which data?", todo="Give a path, or --config FILE.")
    if not Path(request.path).exists():
        raise UserError("no such file or folder", where=request.path)
    nodes, complete = _nodes(request, Path(request.path))
    block = _resolved(next(iter(nodes.values())))
    blocks = {
        split: {**block, "dataset": {**block["dataset"], "kwargs": node["kwargs"]}}
        for split, node in nodes.items()
    }
    return None, blocks, 0, complete


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    """A split's block in normal form, with the type as an import path."""
    source = {"stages": [{"dataloader": {"train": {"dataset": node}}}]}
    try:
        compiled = compile_config(source, check=False)
    except ConfigErrors as errors:
        problem = errors.problems[0]
        todo = f"Did you mean {problem.suggestion}?" if problem.suggestion else None
        raise UserError(problem.what, where="--type", todo=todo) from errors
    block: dict[str, Any] = compiled.resolved["stages"][0]["dataloader"]["train"]
    return block


def _nodes(request: Request, path: Path) -> tuple[dict[str, dict[str, Any]], bool]:
    """A data set node for each split at that path, and whether they are all that is there."""
    arguments = dict(_argument(text) for text in request.arguments)
    seen = _seen(request, path, arguments.get("task"))

    def node(**more: Any) -> dict[str, Any]:
        words = {"data_path": str(path)} if seen is None else seen.node["kwargs"]
        made: dict[str, Any] = {"kwargs": {**words, **arguments, **more}}
        if request.type is not None or seen is not None:
            made["type"] = request.type or (seen.type if seen is not None else None)
        return made

    if request.splits:
        return {split: node(split=split) for split in request.splits}, True
    if "split" in arguments:
        named = arguments["split"]
        return ({"train": node()}, True) if named is None else ({str(named): node()}, False)
    parts = [] if seen is None else _in_order(seen.parts)
    if not parts:
        return {"train": node()}, True
    wanted = [part for part in parts if request.phase in (None, phase_of(part))]
    if not wanted:
        raise UserError(
            f"no split {request.phase!r}",
            where=str(path),
            todo=f"There is {', '.join(parts)}.",
        )
    nodes = {phase_of(part): node(split=part) for part in wanted}
    return nodes, len(wanted) == len(parts)


def _seen(request: Request, path: Path, task: str | None) -> Candidate | None:
    """The one storage that this path is seen to be, if there is one."""
    found = [one for one in candidates(path) if request.type in (None, one.type)]
    if task is not None:
        found = [one for one in found if not one.tasks or task in one.tasks]
    return found[0] if len(found) == 1 and found[0].choose != "file" else None


def _in_order(parts: Sequence[str]) -> list[str]:
    """Training first; a part that only puts train and val together is left out."""
    known = {phase_of(part): part for part in reversed(parts) if phase_of(part) in PHASES}
    if "train" in known and "val" in known:
        return [known[phase] for phase in PHASES if phase in known]
    return sorted(parts, key=lambda part: (not part.lower().startswith("train"), part))


def phase_of(part: str) -> str:
    """The phase that a part's name means; the name itself where it means none."""
    lowered = part.lower()
    return next((phase for phase, names in FOLDERS.items() if lowered in names), part)


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"{text!r} is not name=value", where="--set")
    return name, parse_value(value)


def _of_config(request: Request) -> tuple[Path | None, dict[str, Any], int, bool]:
    assert request.config is not None
    compiled = compile_config(request.config, list(request.overrides), check=False)
    stages = compiled.resolved["stages"]
    with_data = [stage for stage in stages if stage.get("dataloader")]
    if not with_data:
        raise UserError("this config has no data", where=request.config)
    stage = with_data[0]
    if request.stage is not None:
        named = [one for one in with_data if one["name"] == request.stage]
        if not named:
            names = ", ".join(one["name"] for one in with_data)
            raise UserError(
                f"no stage {request.stage!r} with data",
                where=request.config,
                todo=f"There is {names}.",
            )
        stage = named[0]
    loaders = {phase: stage["dataloader"].get(phase) for phase in PHASES}
    blocks = {phase: block for phase, block in loaders.items() if block}
    if request.phase is None:
        return compiled.path, blocks, int(compiled.resolved["seed"]), True
    if request.phase not in blocks:
        raise UserError(
            f"no split {request.phase!r}",
            where=request.config,
            todo=f"There is {', '.join(blocks)}.",
        )
    chosen = {request.phase: blocks[request.phase]}
    return compiled.path, chosen, int(compiled.resolved["seed"]), len(blocks) == 1
