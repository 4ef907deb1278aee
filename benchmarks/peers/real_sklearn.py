"""scikit-learn on the tables, texts and series of benchmarks/real: a linear and a boosted model.

Files, lists and missing values are those of our configs. What has no epochs needs no validation
part to choose one, so it is trained on train and val together; test is scored once.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

SPLITS = Path(__file__).resolve().parents[1] / "real" / "splits"
NUMBERS = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
NAMES = ("island", "sex")

Part = tuple[Any, list[str]]
"""Inputs and labels."""


def penguins(data: Path) -> dict[str, Part]:
    """Rows of four numbers, NaN where one is missing, and two names."""
    with (data / "seaborn-data" / "penguins.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parts: dict[str, Part] = {}
    for part in ("train", "val", "test"):
        chosen = [rows[int(number)] for number in _listed(f"penguins_{part}")]
        numbers = [[float(row[name] or "nan") for name in NUMBERS] for row in chosen]
        names = [[row[name] for name in NAMES] for row in chosen]
        table = np.empty((len(chosen), 6), dtype=object)
        table[:, :4], table[:, 4:] = numbers, names
        parts[part] = table, [row["species"] for row in chosen]
    return parts


def rt_polarity(data: Path) -> dict[str, Part]:
    """Sentences."""
    lines = {
        name: (data / "rt-polarity" / name).read_text(encoding="utf-8").split("\n")
        for name in ("rt-polarity.neg", "rt-polarity.pos")
    }
    parts: dict[str, Part] = {}
    for part in ("train", "val", "test"):
        places = [place.split(":") for place in _listed(f"rt_polarity_{part}")]
        parts[part] = (
            [lines[name][int(line) - 1] for name, line in places],
            [name for name, _ in places],
        )
    return parts


def italy_power(data: Path) -> dict[str, Part]:
    """Days of 24 values; all of the archive's training part is train here."""
    parts: dict[str, Part] = {"val": (np.empty((0, 24)), [])}
    for part in ("train", "test"):
        file = data / "aeon" / "ItalyPowerDemand" / f"ItalyPowerDemand_{part.upper()}.ts"
        text = file.read_text(encoding="utf-8").split("@data\n")[1]
        rows = [line.rsplit(":", 1) for line in text.split("\n") if line]
        values = np.array([[float(value) for value in row[0].split(",")] for row in rows])
        parts[part] = values, [row[1] for row in rows]
    return parts


def _listed(name: str) -> list[str]:
    return (SPLITS / f"{name}.txt").read_text(encoding="utf-8").split()


def _boosting(seed: int) -> Any:
    return HistGradientBoostingClassifier(random_state=seed)


def _of_rows(model: Any, names: Any, *numbers: Any) -> Any:
    columns = make_column_transformer(
        (make_pipeline(*numbers) if numbers else "passthrough", [0, 1, 2, 3]), (names, [4, 5])
    )
    return make_pipeline(columns, model)


MODELS: dict[str, dict[str, Callable[[int], Any]]] = {
    "penguins": {
        "logistic regression": lambda seed: _of_rows(
            LogisticRegression(max_iter=2000, random_state=seed),
            OneHotEncoder(handle_unknown="ignore"),
            SimpleImputer(),
            StandardScaler(),
        ),
        "boosted trees": lambda seed: _of_rows(_boosting(seed), OrdinalEncoder()),
    },
    "rt_polarity": {
        "logistic regression": lambda seed: make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+"),
            LogisticRegression(C=5.0, max_iter=500, random_state=seed),
        )
    },
    "italy_power": {
        "logistic regression": lambda seed: make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=2000, random_state=seed)
        ),
        "boosted trees": _boosting,
    },
}
PARTS = {"penguins": penguins, "rt_polarity": rt_polarity, "italy_power": italy_power}


def outcome(which: str, model: str, seed: int, parts: dict[str, Part]) -> dict[str, Any]:
    """One training and its score."""
    inputs = [parts[part][0] for part in ("train", "val")]
    labels = [*parts["train"][1], *parts["val"][1]]
    joined = inputs[0] + inputs[1] if isinstance(inputs[0], list) else np.concatenate(inputs)
    before, start = _cpu_seconds(), time.perf_counter()
    fitted = MODELS[which][model](seed).fit(joined, labels)
    wall, cpu = time.perf_counter() - start, _cpu_seconds() - before
    accuracy = float(fitted.score(*parts["test"]))
    return {
        "who": f"scikit-learn, {model}",
        "seed": seed,
        "scores": {"test/accuracy": accuracy},
        "wall_s": wall,
        "cpu_s": cpu,
        "parameters": _parameters(fitted[-1] if hasattr(fitted, "steps") else fitted),
    }


def _parameters(model: Any) -> int:
    """Coefficients, or the nodes of all trees."""
    if hasattr(model, "coef_"):
        return int(model.coef_.size + model.intercept_.size)
    return sum(tree.get_n_leaf_nodes() for step in model._predictors for tree in step)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Print a line of JSON for each model and seed."""
    parser = argparse.ArgumentParser(description="scikit-learn on the same lists")
    parser.add_argument("--set", choices=PARTS, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="these models have none")
    given = parser.parse_args()
    parts = PARTS[given.set](given.data)
    for model in MODELS[given.set]:
        for seed in given.seeds:
            print(json.dumps(outcome(given.set, model, seed, parts)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
