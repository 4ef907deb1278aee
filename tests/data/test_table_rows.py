"""Rows of numbers and categories: gaps, scales, numbers of names, lists of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.data.collate import Collate
from cvtrainer.data.datasets.table import Table
from cvtrainer.data.sample import BadSample
from cvtrainer.data.splits import Split
from cvtrainer.data.tensorizer import (
    CategoriesTensorizer,
    IndexTensorizer,
    NumbersTensorizer,
    Tensorizer,
)
from cvtrainer.data.tensorizer.learning import TrainingField

ROWS = """kind,island,length,depth,sex
a,North,1.0,10,F
b,South,3.0,,M
a,North,5.0,30,
b,East,,20,F
"""
COLUMNS = {"label": "kind", "inputs": ["length", "depth"], "categories": ["island", "sex"]}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    file = tmp_path / "birds.csv"
    file.write_text(ROWS)
    return Table(file, columns=COLUMNS, missing="keep")


def learnt(part: Any, table: Table, field: str) -> Any:
    part.learn(TrainingField(table, field))
    return part


def test_a_row_has_numbers_and_names_with_their_gaps(table: Table) -> None:
    sample = table[1]
    assert sample["x"][0] == 3.0
    assert np.isnan(sample["x"][1])
    assert sample["categories"] == ["South", "M"]
    assert table[2]["categories"] == ["North", None]
    assert sample["target"] == {"class_id": 1}
    strict = Table(table.table_file, columns=COLUMNS)
    with pytest.raises(BadSample, match="depth has no value"):
        strict[1]
    with pytest.raises(UserError, match="Use bad, mean, zero or keep"):
        Table(table.table_file, columns=COLUMNS, missing="drop")  # type: ignore[arg-type]


def test_numbers_are_scaled_as_in_training(table: Table) -> None:
    scale = learnt(NumbersTensorizer(flags=True), table, "x")
    rows = torch.stack([scale(table[k]["x"]) for k in range(4)])
    torch.testing.assert_close(rows[:, :2].sum(dim=0), torch.zeros(2))
    assert rows[:, 2:].tolist() == [[0, 0], [0, 1], [0, 0], [1, 0]]
    assert rows[1, 1] == 0
    again = NumbersTensorizer(flags=True)
    again.load_state_dict(scale.state_dict())
    assert torch.equal(again(table[0]["x"]), rows[0])
    assert again([None, 20.0]).tolist()[2:] == [1, 0]
    with pytest.raises(UserError, match="no scale yet"):
        NumbersTensorizer()([1.0, 2.0])
    with pytest.raises(BadSample, match="3 numbers where training had 2"):
        again([1.0, 2.0, 3.0])
    with pytest.raises(BadSample, match="infinite"):
        again([1.0, float("inf")])


def test_names_are_numbered_as_in_training(table: Table) -> None:
    number = learnt(CategoriesTensorizer(), table, "categories")
    assert number.names == [["North", "East", "South"], ["F", "M"]]
    assert number(["East", "M"]).tolist() == [2, 2]
    assert number(["West", None]).tolist() == [0, 0]
    again = CategoriesTensorizer()
    again.load_state_dict(number.state_dict())
    assert again.names == number.names
    few = learnt(CategoriesTensorizer([2, 3]), table, "categories")
    assert few.names == [["North"], ["F", "M"]]
    with pytest.raises(UserError, match="sizes has 1 entries, the data 2 columns"):
        learnt(CategoriesTensorizer([4]), table, "categories")
    with pytest.raises(UserError, match="no categories yet"):
        CategoriesTensorizer()(["East", "M"])
    with pytest.raises(BadSample, match="1 categories where training had 2"):
        number(["East"])


def test_rows_are_listed_by_their_number(table: Table, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("0\n3\n")
    assert Split("train", given=str(tmp_path)).numbers(table).tolist() == [0, 3]
    (tmp_path / "val.txt").write_text("9\n")
    with pytest.raises(UserError, match=r"1 of 1 names are not in the data set, e.g. 9"):
        Split("val", given=str(tmp_path)).numbers(table)


def test_class_numbers_of_unequal_length_are_filled_with_what_losses_leave_out() -> None:
    tensorizer = Tensorizer({"class_id": IndexTensorizer()})
    assert tensorizer.pad_values == {"class_id": -100.0}
    join = Collate(pad_values=tensorizer.pad_values)
    samples = [tensorizer({"target": {"class_id": [1] * n}}) for n in (3, 1)]
    assert join(samples)["target"]["class_id"].tolist() == [[1, 1, 1], [1, -100, -100]]
