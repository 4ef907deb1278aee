"""Data sets of three methods, and of a storage with a task: a few lines that train at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.lab import (
    AudioTask,
    ClassificationTask,
    CocoStorage,
    DetectionTask,
    FolderStorage,
    GenerationTask,
    InstanceTask,
    KeypointTask,
    LabBaseDataset,
    MultiLabelTask,
    RegressionTask,
    SegmentationTask,
    SeriesTask,
    SingleFileStorage,
    TableStorage,
    TextTask,
    VocStorage,
)
from cvtrainer.data.pipeline import Parts
from cvtrainer.data.sample import BadSample
from cvtrainer.data.stream import LoaderStream
from cvtrainer.data.tensorizer import (
    ImageTensorizer,
    IndexTensorizer,
    OneHotTensorizer,
    SequenceTensorizer,
    Tensorizer,
)
from tests.data.conftest import save_picture
from tests.data.sounds import wav_bytes


class Squares(LabBaseDataset):
    """Numbers as pictures, written by hand."""

    def _len(self) -> int:
        return 5

    def _get_raw(self, idx: int) -> int:
        if idx == 3:
            raise BadSample("gone", kind="unreadable", where="3.png")
        return idx

    def _get_sample(self, raw: int) -> dict[str, Any]:
        return {"x": np.full((2, 2, 3), raw, np.uint8), "target": {"class_id": raw % 2}}


class Folders(ClassificationTask, FolderStorage, LabBaseDataset):
    """Pictures in class folders."""


def whole_batch(dataset: LabBaseDataset, tensorizer: Tensorizer) -> dict[str, Any]:
    """All samples of that data set in one batch, in order."""
    options = {"batch_size": len(dataset), "shuffle": False}
    stream = LoaderStream(Parts(dataset, tensorizer=tensorizer), options=options)
    (batch,) = stream.epoch(1)
    stream.close()
    return dict(batch)


@pytest.mark.seed("S3-81")
def test_three_methods_are_a_data_set() -> None:
    squares = Squares()
    assert len(squares) == 5
    assert squares[4]["target"] == {"class_id": 0}
    assert squares[4]["meta"] == {"index": 4, "path": "Squares[4]"}
    tensorizer = Tensorizer({"x": ImageTensorizer(None), "class_id": IndexTensorizer(2)})
    batch = whole_batch(squares, tensorizer)
    assert batch["x"].shape == (5, 3, 2, 2)
    assert batch["target"]["class_id"][[0, 1, 2, 4]].tolist() == [0, 1, 0, 0]
    with pytest.raises(TypeError, match="_get_sample"):
        type("Half", (LabBaseDataset,), {"_len": len, "_get_raw": len})()


@pytest.mark.seed("S3-81", "S3-82")
def test_ten_lines_train_from_class_folders(folder: Path) -> None:
    class Bright(Folders):
        def _get_sample(self, raw: Any) -> dict[str, Any]:
            sample = super()._get_sample(raw)
            sample["target"]["file"] = sample["meta"]["path"][-5]
            return sample

    dataset = Bright(folder)
    assert dataset.classes == {"cat": 0, "dog": 1}
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0] * 7 + [1] * 6
    assert dataset[8]["x"].shape == (12, 16, 3)
    assert dataset[8]["target"] == {"class_id": 1, "file": "1"}
    tensorizer = Tensorizer(
        {"x": ImageTensorizer(), "class_id": OneHotTensorizer(2)}, unmapped="pass"
    )
    batch = whole_batch(dataset, tensorizer)
    assert batch["target"]["class_id"].sum(dim=0).tolist() == [7, 6]
    assert sorted(batch["target"]["file"]) == sorted("0123456012345")


@pytest.mark.seed("S3-82")
def test_storages_and_their_tasks(tmp_path: Path) -> None:
    save_picture(tmp_path / "coco" / "a.png", 1)
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 12, "width": 16}],
        "categories": [{"id": 7, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "area": 12}
        ],
    }
    (tmp_path / "coco" / "boxes.json").write_text(json.dumps(content))
    Boxes = type("Boxes", (DetectionTask, CocoStorage, LabBaseDataset), {})
    sample = Boxes(tmp_path / "coco" / "boxes.json")[0]
    assert sample["target"]["boxes"].tolist() == [[1, 2, 4, 6]]
    assert sample["target"]["box_labels"].tolist() == [0]
    save_picture(tmp_path / "voc" / "JPEGImages" / "a.png", 1)
    xml = tmp_path / "voc" / "Annotations" / "a.xml"
    xml.parent.mkdir()
    xml.write_text(
        "<annotation><filename>a.png</filename><size><width>16</width><height>12</height></size>"
        "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>4</xmax><ymax>6</ymax>"
        "</bndbox></object></annotation>"
    )
    Voc = type("Voc", (DetectionTask, VocStorage, LabBaseDataset), {})
    assert Voc(tmp_path / "voc")[0]["target"]["boxes"].tolist() == [[1, 2, 4, 6]]
    save_picture(tmp_path / "a.png", 1)
    (tmp_path / "table.csv").write_text("image,label\na.png,cat\na.png,dog\n")
    Rows = type("Rows", (ClassificationTask, TableStorage, LabBaseDataset), {})
    book = openpyxl.Workbook()
    for cells in (("image", "label"), ("a.png", "cat"), ("a.png", "dog")):
        book.active.append(cells)
    book.save(tmp_path / "table.xlsx")
    for name in ("table.csv", "table.xlsx"):
        row = Rows(tmp_path / name)[1]
        assert row["x"].shape == (12, 16, 3)
        assert row["target"] == {"class_id": 1}
    (tmp_path / "a.ts").write_text("@classlabel true a b\n@data\n1,2:b\n")
    Series = type("Series", (SeriesTask, SingleFileStorage, LabBaseDataset), {})
    assert Series(tmp_path / "a.ts")[0]["target"] == {"class_id": 1}
    pictures = np.arange(2 * 6 * 5 * 3, dtype=np.uint8).reshape(2, 6, 5, 3)
    np.savez(tmp_path / "a.npz", x=pictures, y=np.array([1, 0]))
    Arrays = type("Arrays", (ClassificationTask, SingleFileStorage, LabBaseDataset), {})
    arrays = Arrays(tmp_path / "a.npz")
    assert np.array_equal(arrays[1]["x"], pictures[1])
    assert [sample["target"]["class_id"] for sample in arrays] == [1, 0]
    for k, word in enumerate(("no", "yes")):
        (tmp_path / "sounds" / word).mkdir(parents=True)
        (tmp_path / "sounds" / word / "1.wav").write_bytes(wav_bytes(np.ones(4) * k / 2, 8000))
        (tmp_path / "texts" / word).mkdir(parents=True)
        (tmp_path / "texts" / word / "1.txt").write_text(word)
    Sounds = type("Sounds", (AudioTask, FolderStorage, LabBaseDataset), {})
    assert Sounds(tmp_path / "sounds")[1]["x"].tolist() == [0.5] * 4
    Texts = type("Texts", (TextTask, FolderStorage, LabBaseDataset), {})
    assert Texts(tmp_path / "texts", classes=["yes", "no"])[0]["target"] == {"class_id": 1}


RAW: dict[type[ClassificationTask], dict[str, Any]] = {
    ClassificationTask: {"class_id": "dog"},
    MultiLabelTask: {"class_ids": ["dog", 0]},
    RegressionTask: {"value": [1, 2]},
    DetectionTask: {"boxes": [[0, 0, 2, 2]], "box_labels": ["dog"]},
    SegmentationTask: {"mask": np.ones((12, 16), np.uint8)},
    InstanceTask: {"boxes": [], "box_labels": [], "masks": np.zeros((0, 12, 16), np.uint8)},
    KeypointTask: {"keypoints": [[1, 2, 2]]},
    GenerationTask: {},
    SeriesTask: {"class_id": 1},
    AudioTask: {"class_id": 1},
    TextTask: {"class_id": 0},
}


@pytest.mark.seed("S3-83")
@pytest.mark.parametrize("task", RAW)
def test_each_task_gives_its_documented_keys(
    task: type[ClassificationTask], tmp_path: Path
) -> None:
    sound = tmp_path / "a.wav"
    sound.write_bytes(wav_bytes(np.zeros(4), 8000))
    inputs = {
        "image": str(save_picture(tmp_path / "a.png", 0)),
        "sound": sound,
        "text": "words",
        "series": [1, 2, 3],
    }

    class Own(task, LabBaseDataset):  # type: ignore[misc, valid-type]
        classes = {"cat": 0, "dog": 1}  # noqa: RUF012

        def _len(self) -> int:
            return 1

        def _get_raw(self, idx: int) -> dict[str, Any]:
            return {"x": inputs[self.input_kind], **RAW[task]}

    sample = Own()[0]
    assert set(sample["target"]) == set(RAW[task]) == set(task.fields)
    for name in task.fields:
        assert name in (task.__doc__ or "")
    shapes = {"image": (12, 16, 3), "sound": (4,), "series": (3, 1)}
    if task is not TextTask:
        assert sample["x"].shape == shapes[task.input_kind]
        assert sample["x"].dtype == (np.uint8 if task.input_kind == "image" else np.float32)
    if task.input_kind == "image":
        assert sample["meta"]["path"] == inputs["image"]
    right = {
        "class_ids": [1, 0],
        "value": [1, 2],
        "boxes": [[0, 0, 2, 2]],
        "keypoints": [[1, 2, 2]],
    }
    for name, value in right.items():
        if name in sample["target"] and task is not InstanceTask:
            assert sample["target"][name].tolist() == value


def test_what_a_record_lacks_is_said(folder: Path) -> None:
    class Own(DetectionTask, LabBaseDataset):
        def _len(self) -> int:
            return 3

        def _get_raw(self, idx: int) -> Any:
            label: Any = ["cat"] if idx else [0]
            return {"x": np.zeros((2, 2, 3), np.uint8), "boxes": []} | (
                {"box_labels": label} if idx < 2 else {}
            )

    own = Own()
    assert own[0]["target"]["box_labels"].tolist() == [0]
    with pytest.raises(UserError, match="class 'cat' has no number"):
        own[1]
    with pytest.raises(UserError, match=r"Own: a record of the storage lacks box_labels.*dict"):
        own[2]
    Own.classes = {"dog": 0}  # type: ignore[attr-defined]
    with pytest.raises(BadSample, match="'cat' is not among the 1 classes"):
        own[1]


def test_a_pair_will_do_and_series_may_have_values() -> None:
    class Growth(SeriesTask, LabBaseDataset):
        task = "regression"
        fields = ("value",)

        def _len(self) -> int:
            return 2

        def _get_raw(self, idx: int) -> tuple[list[int], int]:
            return [0, idx], idx

    tensorizer = Tensorizer({"x": SequenceTensorizer()}, unmapped="pass")
    batch = whole_batch(Growth(), tensorizer)
    assert torch.equal(batch["x"], torch.tensor([[[0.0], [0.0]], [[0.0], [1.0]]]))
    assert batch["target"]["value"].tolist() == [0, 1]
