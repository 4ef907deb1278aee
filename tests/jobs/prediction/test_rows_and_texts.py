"""Predicting what is no picture: rows by their columns, texts, whole samples, and files of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import cvtrainer
from cvtrainer.core.errors import UserError
from cvtrainer.jobs.load import LoadedModel

TABLE = (
    "kind,island,length,depth\n" + 2 * "a,North,1.0,10\nb,South,3.0,\na,North,5.0,30\nb,East,,20\n"
)
LINES = {"glad.txt": "what a fine day\nso lovely\n", "sad.txt": "what a rainy day\nso cold\n"}


def checkpointed(folder: Path, model: Any, dataset: Any, mapping: Any) -> LoadedModel:
    """A run of one epoch, loaded again."""
    split = {
        "dataset": dataset,
        "tensorizer": {"type": "tensorizer", "mapping": mapping},
        "dataloader_args": {"batch_size": 4, "num_workers": 0},
    }
    stage = {
        "epochs": 1,
        "task": {"type": "classification", "top": 2},
        "model": model,
        "criterion": "CrossEntropyLoss",
        "optimizer": {"type": "SGD", "lr": 0.01},
        "dataloader": {"train": split, "val": split},
    }
    config = folder / "train.yaml"
    config.write_text(yaml.safe_dump({"device": "cpu", "stages": [stage]}))
    return cvtrainer.load(cvtrainer.train(config, run_dir=folder / "run").run)


@pytest.fixture
def rows(tmp_path: Path) -> LoadedModel:
    (tmp_path / "birds.csv").write_text(TABLE)
    dataset = {
        "type": "table",
        "data_path": str(tmp_path / "birds.csv"),
        "columns": {"label": "kind", "inputs": ["length", "depth"], "categories": ["island"]},
        "missing": "keep",
    }
    model = {
        "type": "table_model",
        "backbone": {"type": "table_net", "numbers": 2, "categories": [4], "width": 4},
        "head": {"type": "multiclass", "num_classes": 2},
    }
    return checkpointed(
        tmp_path, model, dataset, {"x": "numbers", "categories": "categories", "class_id": "index"}
    )


@pytest.fixture
def texts(tmp_path: Path) -> LoadedModel:
    folder = tmp_path / "lines"
    folder.mkdir()
    for name, text in LINES.items():
        (folder / name).write_text(text)
    model = {
        "type": "sequence_model",
        "backbone": {"type": "text_net", "tokens": 30, "width": 4, "embedding": 4},
        "head": {"type": "multiclass", "num_classes": 2},
    }
    dataset = {"type": "text_lines", "data_path": str(folder)}
    return checkpointed(tmp_path, model, dataset, {"x": "text", "class_id": "index"})


def test_a_row_is_a_mapping_from_columns_or_from_fields(rows: LoadedModel, tmp_path: Path) -> None:
    row = {"island": "North", "length": 1.0, "depth": "10", "noted": "left out"}
    gap = {"island": None, "length": 3.0, "depth": ""}
    sample = {"x": [1.0, 10.0], "categories": ["North"]}
    by_column, with_gaps, by_field = rows.predict([row, gap, sample])
    assert by_column["class"] in ("a", "b")
    likely = pytest.approx(by_field["probability"], abs=1e-5)
    assert by_column["probability"] == likely
    assert with_gaps["probability"] != likely
    told = rows.predict(str(tmp_path / "birds.csv"))
    assert len(told) == 8
    assert told[0]["probability"] == likely
    assert told[0]["file"].endswith("birds.csv[0]")


def test_what_a_row_lacks_is_named(rows: LoadedModel) -> None:
    answers = list(rows.answers([{"island": "North", "length": 1.0}, {"x": [1.0]}]))
    assert answers[0].error == "the row has no depth"
    assert "1 numbers where training had 2" in str(answers[1].error)
    (wrong,) = rows.answers({"island": "North", "length": "long", "depth": 1})
    assert wrong.error == "length is 'long', which is no number"


def test_a_text_is_a_string_or_the_lines_of_a_file(texts: LoadedModel, tmp_path: Path) -> None:
    alone = texts.predict("so lovely")
    assert alone[0]["file"] == "input"
    file = tmp_path / "new.txt"
    file.write_text("what a fine day\n\nso lovely\n")
    told = texts.predict(file)
    assert [Path(one["file"]).name for one in told] == ["new.txt:1", "new.txt:3"]
    assert told[1]["probability"] == pytest.approx(alone[0]["probability"], abs=1e-5)
    together = texts.predict(["what a fine day", "so lovely"])
    for one, other in zip(together, told, strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-6)
    with pytest.raises(UserError, match="the mapping has no x, but text"):
        texts.predict({"text": "so lovely"})


def test_a_graph_is_a_sample_of_nodes_and_edges(tmp_path: Path) -> None:
    own = tmp_path / "graphs.py"
    own.write_text(GRAPHS)
    model = {
        "type": "graph_model",
        "backbone": {"type": "graph_net", "in_channels": 3, "width": 4},
        "head": {"type": "each_place", "num_classes": 2},
    }
    mapping: dict[str, Any] = {"x": "sequence", "edges": "scalar", "class_id": "index"}
    run = checkpointed(tmp_path, model, {"type": f"{own}:Graphs"}, mapping)
    nodes, edges = np.ones((4, 3), np.float32), np.eye(4, dtype=np.float32)
    (told,) = run.predict({"x": nodes, "edges": edges})
    assert len(told["places"]) == 4
    (again,) = run.predict([{"x": nodes, "edges": edges}], tensors=True)
    assert again["outputs"]["class_id"].shape == (4,)


GRAPHS = '''
import numpy as np
from cvtrainer.data.datasets import DataAdapter


class Graphs(DataAdapter):
    """Graphs of three to six nodes."""

    classes = {"a": 0, "b": 1}

    def __len__(self):
        return 8

    def _load_sample(self, idx):
        rng = np.random.default_rng(idx)
        size = 3 + idx % 4
        nodes = rng.normal(size=(size, 3)).astype(np.float32)
        labels = (nodes.sum(axis=1) > 0).astype(int)
        return {"x": nodes, "edges": np.eye(size, dtype=np.float32), "target": {"class_id": labels}}
'''
