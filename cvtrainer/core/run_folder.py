"""The folder of one run: its config, environment, checkpoints and artefacts.

`runs/<project>/<name>_<time>/` is made by an atomic mkdir, so that two runs never share one, not
even within a second. A fixed folder is locked while its run lives, and what an earlier run left
there is moved aside. What the other parts write into the folder is theirs.
"""

from __future__ import annotations

import errno
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
from typing import IO, Any

from cvtrainer.core import yaml_form
from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder, write_error, write_whole

_IDENTITY = "run.json"
_LOCK = ".lock"
_OURS = (
    _IDENTITY,
    "config.yaml",
    "environment.json",
    "metrics.jsonl",
    "train.log",
    "checkpoints",
    "artifacts",
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
    _lock: IO[str] | None = field(default=None, repr=False, compare=False)

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
            path, lock, aside = _fresh(Path(root) / project, name), None, None
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
        write_whole(target, yaml_form.dump(_protect(dict(config))))
        return target

    def write_environment(self, extra: Mapping[str, Any] | None = None) -> Path:
        """Save what the run runs on: versions, platform, command; `extra` adds device facts."""
        target = self.path / "environment.json"
        facts = {**environment(), **(extra or {})}
        write_whole(target, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        return target

    def close(self) -> None:
        """Let go of a fixed folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


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


def _claim(path: Path) -> IO[str] | None:
    """Lock a fixed folder for as long as the returned file stays open."""
    try:
        import fcntl
    except ImportError:  # a system without file locks: the folder is used as it is
        return None
    try:
        lock = open(path / _LOCK, "w", encoding="utf-8")  # noqa: SIM115 (open while the run lives)
    except OSError as error:
        raise write_error(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise UserError(
                "another run is using this folder",
                where=str(path),
                todo="Wait for it to end, or give this run another dir.",
            ) from error
        return None
    return lock


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
