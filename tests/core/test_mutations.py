"""Random defects in the shipped configs: the right line, the right suggestion, no false alarm."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors
from tests.core.mutations import KINDS, Defect, Spot, make, spots

ROOT = Path(__file__).resolve().parents[2]
COMMON = {"transforms.yaml": "transforms", "tensorizers.yaml": "tensorizer"}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A copy of all shipped configs, with a small config around each shared template."""
    ignored = shutil.ignore_patterns("__pycache__", "runs", "logs", "checkpoints", "data")
    shutil.copytree(ROOT / "apps", tmp_path / "apps", ignore=ignored)
    shutil.copytree(ROOT / "configs", tmp_path / "configs", ignore=ignored)
    fixture = ROOT / "tests/fixtures/document_000/apps/my_project"
    shutil.copytree(fixture, tmp_path / "apps/my_project", ignore=ignored)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrapped").mkdir()
    for name, key in COMMON.items():
        for entry in yaml.safe_load((tmp_path / "configs/common" / name).read_text()):
            _wrap(tmp_path / "wrapped" / f"{key}_{entry}.yaml", name, key, entry)
    return tmp_path


def _wrap(path: Path, name: str, key: str, entry: str) -> None:
    include = f"!include ../configs/common/{name}::{entry}"
    split: dict[str, object] = {"dataset": {"data_path": "data/train"}, key: include}
    if key == "tensorizer" and not entry.endswith("_tensorizer"):
        kwargs = {"num_classes": 5} if "one_hot" in entry else {}
        field = {"template": include, "kwargs": kwargs}
        split[key] = {"type": "tensorizer", "mapping": {"x": field}}
    stage = {"model": "apps.my_project.model.MyModel", "model_args": {"num_classes": 5}}
    stage |= {"optimizer": "SGD", "dataloader": {"train": split}}
    path.write_text(yaml.safe_dump({"stages": [stage]}, sort_keys=False))


def _configs() -> list[Path]:
    return [*sorted(Path("apps").glob("*/*.yaml")), *sorted(Path("wrapped").glob("*.yaml"))]


def _all_spots() -> dict[str, list[tuple[Path, Spot]]]:
    found: dict[str, list[tuple[Path, Spot]]] = {kind: [] for kind in KINDS}
    for config in sorted(Path("apps").glob("*/*.yaml")):
        for spot in spots(config, "run"):
            found[spot.kind].append((config, spot))
    for config in sorted(Path("wrapped").glob("*.yaml")):
        key, _, entry = config.stem.partition("_")
        name = next(name for name, word in COMMON.items() if word == key)
        for spot in _template_spots(Path("configs/common") / name, key, entry):
            found[spot.kind].append((config, spot))
    return found


def _template_spots(file: Path, key: str, entry: str) -> list[Spot]:
    """The spots of one shared template, found by its place in its file."""
    from tests.core.mutations import _Walk

    root = yaml.compose(file.read_text())
    value = next(node for word, node in root.value if word.value == entry)
    walk = _Walk(file)
    return list(walk.section(value, key) if key == "transforms" else walk.node(value, key))


def _defects(count: int, seed: int) -> list[Defect]:
    rng = random.Random(seed)
    places = _all_spots()
    defects: list[Defect] = []
    while len(defects) < count:
        kind = KINDS[len(defects) % len(KINDS)]
        config, spot = rng.choice(places[kind])
        defect = make(spot, config, rng)
        if defect is not None:
            defects.append(defect)
    return defects


def _judge(defect: Defect) -> tuple[bool, bool]:
    """Whether the defect is told at its line, and with the suggestion that is clearly meant."""
    clean = defect.file.read_text()
    defect.file.write_text(defect.text)
    try:
        compile_config(defect.config)
        told = []
    except ConfigErrors as errors:
        told = errors.problems
    finally:
        defect.file.write_text(clean)
    here = [
        problem
        for problem in told
        if problem.mark
        and problem.mark.line == defect.line
        and Path(problem.mark.file) == defect.file
    ]
    meant = defect.suggestion
    suggested = meant is None or any(_same(problem.suggestion, meant) for problem in here)
    if not here or not suggested:
        print(f"\n{defect.kind}: {defect.what} at {defect.file}:{defect.line}, meant {meant}")
        print("".join(f"    {problem}\n" for problem in told) or "    nothing told")
    return bool(here), suggested


def _same(suggestion: str | None, meant: str) -> bool:
    return suggestion is not None and suggestion.replace(":", ".") == meant.replace(":", ".")


def _run(count: int, seed: int) -> None:
    tally: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for defect in _defects(count, seed):
        told, suggested = _judge(defect)
        row = tally[defect.kind]
        row["defects"] += 1
        row["right line"] += told
        row["clear"] += defect.suggestion is not None
        row["right suggestion"] += defect.suggestion is not None and suggested
    columns = ("defects", "right line", "clear", "right suggestion")
    print(f"\n{'':20}" + "".join(f"{column:>18}" for column in columns))
    total: Counter[str] = Counter()
    for kind, row in tally.items():
        print(f"{kind:20}" + "".join(f"{row[column]:18}" for column in columns))
        total.update(row)
    print(f"{'all':20}" + "".join(f"{total[column]:18}" for column in columns))
    assert total["defects"] == count
    assert total["right line"] >= 0.99 * count
    assert total["right suggestion"] >= 0.99 * total["clear"]


def test_clean_configs_raise_no_false_alarm(shipped):
    configs = _configs()
    assert len(configs) >= 10
    for config in configs:
        compile_config(config)


def test_sixty_random_defects_are_told(shipped):
    _run(60, seed=3)


@pytest.mark.long
def test_five_hundred_random_defects_are_told(shipped):
    _run(500, seed=2)
