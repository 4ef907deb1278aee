"""The folder of one run: its config, environment, checkpoints and artefacts.

`runs/<project>/<name>_<time>/` is made by an atomic mkdir, so that two runs never share one, not
even within a second. A folder is locked while its run lives, also after a resume; what an earlier
run left in a fixed one is moved aside. What the other parts write into the folder is theirs.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from cvtrainer.core import yaml_form
from cvtrainer.core.claims import Claim, claimed
from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder, write_error, write_whole

_IDENTITY = "run.json"
_LOCK = ".lock"
_DYING_SECONDS = 3.0
"""So long a killed process may take to let go of its files."""
_OURS = (
    _IDENTITY,
    "config.yaml",
    "environment.json",
    "earlier_configs",
    "stages.json",
    "handover",
    "metrics.jsonl",
    "train.log",
    "checkpoints",
    "artifacts",
    "crash",
    "profile",
    "report.html",
    "bad_samples.jsonl",
    "tensorboard",
    "wandb",
)
_PACKAGES = (
    "cvtrainer",
    "torch",
    "torchvision",
    "timm",
    "albumentations",
    "opencv-python-headless",
    "simplejpeg",
    "numpy",
    "pillow",
    "PyYAML",
    "safetensors",
    "tensorboard",
    "wandb",
    "onnx",
    "onnxruntime",
)


@dataclass
class RunFolder:
    """One run's own place on disk."""

    path: Path
    run_id: str
    project: str = ""
    moved_aside: Path | None = None
    fixed: bool = False
    _lock: Claim | None = field(default=None, repr=False, compare=False)

    @classmethod
    def create(
        cls,
        project: str,
        name: str,
        fixed: str | Path | None = None,
        root: str | Path = Path("runs"),
    ) -> RunFolder:
        """A new run's folder: a fresh one under `root`, or the fixed one, cleared of earlier runs.

        `moved_aside` says where an earlier run's files went.
        """
        if fixed is None:
            path, aside = _fresh(Path(root) / project, name), None
            lock = _claim(path)
        else:
            path = make_folder(fixed)
            lock = _claim(path)
            aside = _move_aside(path)
        run = cls(
            path,
            secrets.token_hex(8),
            project,
            moved_aside=aside,
            fixed=fixed is not None,
            _lock=lock,
        )
        for folder in (run.checkpoints, run.artifacts):
            make_folder(folder)
        identity = {
            "run_id": run.run_id,
            "project": project,
            "name": name,
            "fixed": run.fixed,
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        write_whole(path / _IDENTITY, json.dumps(identity, indent=2, ensure_ascii=False) + "\n")
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The folder of a run that exists already: to resume it, or to read it."""
        try:
            identity = json.loads((Path(path) / _IDENTITY).read_text(encoding="utf-8"))
            return cls(
                Path(path),
                str(identity["run_id"]),
                str(identity.get("project", "")),
                fixed=bool(identity.get("fixed", False)),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"is no run folder ({_IDENTITY} cannot be read)",
                where=str(path),
                todo="Give the folder of a run, such as runs/<project>/<name>_<time>.",
            ) from error

    def hold(self) -> None:
        """Lock the folder of a run that is resumed, until `close`; one in use is refused."""
        if self._lock is None:
            self._lock = _claim(self.path, patience=_DYING_SECONDS)

    @property
    def launch(self) -> Any:
        """Which launch opened the run, or went on with it the last time; None if nobody said."""
        return self._identity().get("launch")

    def note_launch(self, launch: Mapping[str, Any]) -> None:
        """Write that down."""
        text = json.dumps({**self._identity(), "launch": launch}, indent=2, ensure_ascii=False)
        write_whole(self.path / _IDENTITY, text + "\n")

    def _identity(self) -> dict[str, Any]:
        found = json.loads((self.path / _IDENTITY).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints go unless the config says otherwise."""
        return self.path / "checkpoints"

    @property
    def quarantine(self) -> Path:
        """Files that are known to be bad: one list for all runs of a project."""
        return (self.path if self.fixed else self.path.parent) / "quarantine.jsonl"

    @property
    def artifacts(self) -> Path:
        """Where exported files go."""
        return self.path / "artifacts"

    def write_config(self, config: Mapping[str, Any]) -> Path:
        """Save the resolved config so that it loads again to the same tree, alone."""
        target = self.path / "config.yaml"
        write_whole(target, config_text(config))
        return target

    def write_environment(self, extra: Mapping[str, Any] | None = None) -> Path:
        """Save what the run runs on: versions, platform, command; `extra` adds device facts."""
        target = self.path / "environment.json"
        facts = {**environment(), **(extra or {})}
        write_whole(target, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        return target

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def config_text(config: Mapping[str, Any]) -> str:
    """A resolved config as YAML that loads again to the same tree."""
    return yaml_form.dump(_protect(dict(config)))


def environment() -> dict[str, Any]:
    """Versions, platform and command line, found without importing any package."""
    return {
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "argv": list(sys.argv),
        "working_directory": os.getcwd(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _fresh(parent: Path, name: str) -> Path:
    """Make a folder that nobody else has; the mkdir itself decides between racers."""
    stem = f"{name}_{datetime.now():%Y-%m-%d_%H-%M-%S}"
    make_folder((parent / stem).parent)
    count = 1
    while True:
        path = parent / (stem if count == 1 else f"{stem}_{count}")
        try:
            path.mkdir()
            return path
        except FileExistsError:
            count += 1
        except OSError as error:
            raise write_error(path, error) from error


def _claim(path: Path, *, patience: float = 0.0) -> Claim:
    busy = UserError(
        "another run is using this folder",
        where=str(path),
        todo="Wait for it to end, or give this run another dir.",
    )
    return claimed(path / _LOCK, busy, patience=patience)


def _move_aside(path: Path) -> Path | None:
    """Put an earlier run's files into a folder of their own below this one."""
    if not (path / _IDENTITY).exists():
        return None
    earlier = _fresh(path, "earlier")
    for name in _OURS:
        if (path / name).exists():
            os.replace(path / name, earlier / name)
    return earlier


def _protect(value: Any) -> Any:
    """Keep a literal `${` from being read as a reference when the file is loaded again."""
    if isinstance(value, dict):
        return {key: _protect(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_protect(item) for item in value]
    if isinstance(value, str):
        return value.replace("${", "$${")
    return value
