"""Start a project: `apps/<name>/` with a model, a training config and an evaluation config.

What it writes trains at once, on the user's folder of pictures or on a small generated world of
coloured shapes. The texts lie in scaffold/; everything in them is meant to be changed. Nothing
that exists is overwritten.
"""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder, write_whole

VALIDATION_NAMES = ("val", "valid", "validation", "test")
_WORLD_SIZE = 48
_SPLIT = "\n        split: {ratio: {train: 0.8, val: 0.2}}"
_PICTURES = "Put its pictures there, or remove the folder."


@dataclass(frozen=True)
class Project:
    """What was written, and what to run next."""

    folder: Path
    files: tuple[Path, ...]
    notes: tuple[str, ...]

    @property
    def train_command(self) -> str:
        """The command that trains it."""
        return f"cvtrainer train --config {(self.folder / 'train.yaml').as_posix()}"

    @property
    def eval_command(self) -> str:
        """The command that evaluates what was trained."""
        return f"cvtrainer eval --config {(self.folder / 'eval.yaml').as_posix()}"


@dataclass(frozen=True)
class _Data:
    """The two splits as config nodes, and what follows from them."""

    train: str
    val: str
    num_classes: int
    size: int
    epochs: int
    num_workers: int


def create_project(name: str, *, data: Path | None = None, apps: Path = Path("apps")) -> Project:
    """Write the project's files below `apps`; `data` is a folder of pictures by class."""
    _require_name(name)
    folder = apps / name
    if folder.exists() and any(folder.iterdir()):
        raise UserError(
            "this folder exists and is not empty", where=str(folder), todo="Choose another name."
        )
    notes: list[str] = []
    found = _from_folder(data, notes) if data is not None else _picture_world(folder, notes)
    words = _words(name, folder, found)
    make_folder(folder)
    files = [_write(folder / "model.py", "model.py.txt", words)]
    for name in ("train.yaml", "eval.yaml"):
        files.append(_write(folder / name, f"{name}.txt", words))
    return Project(folder, tuple(files), tuple(notes))


def _require_name(name: str) -> None:
    if name.isidentifier() and not keyword.iskeyword(name):
        return
    letters = "".join(letter if letter.isalnum() else "_" for letter in name).strip("_")
    fits = letters.isidentifier() and not keyword.iskeyword(letters)
    meant = letters if fits else f"project_{letters}".strip("_")
    raise UserError(
        f"{name!r} cannot be a project's name, because configs import from it",
        todo=f"Use letters, digits and underscores, such as {meant}.",
    )


def _from_folder(data: Path, notes: list[str]) -> _Data:
    """The user's folders: `train` and `val` below `data`, or the class folders themselves."""
    if data.is_file():
        raise UserError("this is a file", where=str(data), todo="Give a folder of pictures.")
    if not data.is_dir():
        raise UserError("no such data folder", where=str(data), todo="Give a folder of pictures.")
    train = data / "train" if (data / "train").is_dir() else data
    classes = _folders(train)
    if len(classes) < 2:
        below = next((train / one for one in classes if len(_folders(train / one)) > 1), None)
        raise UserError(
            f"{len(classes)} class folder{'' if len(classes) == 1 else 's'} here",
            where=str(train),
            todo=f"Did you mean {below}?"
            if below is not None
            else "Put the pictures of each of two or more classes into a folder of its own.",
        )
    for name in classes:
        if not any(_is_picture(path) for path in (train / name).rglob("*")):
            raise UserError("no picture of this class", where=str(train / name), todo=_PICTURES)
    places = [data / word for word in VALIDATION_NAMES if train != data and (data / word).is_dir()]
    if not places:
        notes.append(
            "there is no folder with validation pictures, so a fifth of each class is kept for it"
        )
    return _Data(
        train=_node(train) if places else _node(train) + _SPLIT,
        val=_node(places[0]) if places else _node(train) + _SPLIT,
        num_classes=len(classes),
        size=128,
        epochs=20,
        num_workers=2,
    )


def _folders(place: Path) -> list[str]:
    return sorted(e.name for e in place.iterdir() if e.is_dir() and not e.name.startswith("."))


def _is_picture(path: Path) -> bool:
    from cvtrainer.data.decode import IMAGE_EXTENSIONS

    return path.suffix.lower() in IMAGE_EXTENSIONS


def _node(place: Path) -> str:
    return f'{{data_path: "{place.as_posix()}"}}'


def _picture_world(folder: Path, notes: list[str]) -> _Data:
    from cvtrainer.data.picture_world import CALM, CLASSES, write_picture_world

    place = folder / "data"
    write_picture_world(place, size=_WORLD_SIZE, look=CALM)
    notes.append(f"the pictures in {place.as_posix()} are generated; --data takes your own")
    kind = "cvtrainer.data.datasets.PictureWorld"
    return _Data(
        train=f'{{type: {kind}, kwargs: {{data_path: "{place.as_posix()}", split: train}}}}',
        val=f'{{type: {kind}, kwargs: {{data_path: "{place.as_posix()}", split: val}}}}',
        num_classes=len(CLASSES),
        size=_WORLD_SIZE,
        epochs=20,
        num_workers=0,
    )


def _words(name: str, folder: Path, found: _Data) -> dict[str, str]:
    where = folder.as_posix()
    best = f"{{save_dir: {where}/checkpoints, save_freq: 10, save_best: true, "
    best += 'metric_name: "val_accuracy", mode: "max"}'
    return {
        "name": name,
        "folder": where,
        "train_dataset": found.train,
        "val_dataset": found.val,
        "num_classes": str(found.num_classes),
        "size": str(found.size),
        "epochs": str(found.epochs),
        "num_workers": str(found.num_workers),
        "checkpoint": best,
    }


def _text(template: str, words: dict[str, str]) -> str:
    source = resources.files("cvtrainer.jobs") / "scaffold" / template
    return Template(source.read_text(encoding="utf-8")).substitute(words)


def _write(path: Path, template: str, words: dict[str, str]) -> Path:
    write_whole(path, _text(template, words))
    return path
