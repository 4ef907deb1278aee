"""The picture world: same bytes for the same seed, exact labels, and colours that tell nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data import ImageFolder, PictureWorld
from cvtrainer.data.picture_world import (
    ALL_SHAPES,
    CALM,
    CLASSES,
    MARKS,
    Look,
    draw_picture,
    tiny_cifar10,
    write_picture_world,
    write_tiny_cifar10,
)
from cvtrainer.data.picture_world.shapes import outline


def _digest(folder: Path) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    parts = [f"{p.relative_to(folder)} {hashlib.sha256(p.read_bytes()).hexdigest()}" for p in files]
    return "\n".join(parts)


@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_the_same_seed_writes_the_same_bytes(tmp_path: Path, format: str) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_picture_world(tmp_path / name, train=12, val=6, seed=seed, format=format)  # type: ignore[arg-type]
    assert _digest(tmp_path / "a") == _digest(tmp_path / "b")
    assert _digest(tmp_path / "a") != _digest(tmp_path / "c")


def test_it_is_an_image_folder_and_holds_every_label(tmp_path: Path) -> None:
    write_picture_world(tmp_path, train=24, val=12, size=48)
    folder = ImageFolder(tmp_path / "train")
    assert set(folder.classes) == set(CLASSES)
    assert np.bincount(folder.labels).tolist() == [4] * 6
    fields = ("class_id", "boxes", "box_labels", "mask", "count")
    world = PictureWorld(tmp_path, split="val", fields=fields)
    assert len(world) == 12
    assert world.classes == {name: k for k, name in enumerate(CLASSES)}
    for k in range(len(world)):
        sample = world[k]
        target = sample["target"]
        assert sample["x"].shape == (48, 48, 3)
        assert target["count"] == len(target["boxes"]) == len(target["box_labels"])
        assert target["box_labels"][0] == target["class_id"]
        areas = []
        for box, label in zip(target["boxes"].astype(int), target["box_labels"], strict=True):
            x1, y1, x2, y2 = box
            inside = target["mask"][y1:y2, x1:x2] == label + 1
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
            areas.append(inside.sum())
        assert areas[0] == max(areas)
        assert (target["mask"] > 0).sum() == sum(areas)
    record = json.loads((tmp_path / "annotations.json").read_text())
    entry = record["splits"]["train"][0]
    assert sum(entry["counts"].values()) == entry["count"]


def test_what_is_drawn_in_memory_is_what_would_have_been_written(tmp_path: Path) -> None:
    classes = ["arrow", "ring", "bar"]
    write_picture_world(tmp_path, train=12, val=6, size=48, seed=5, classes=classes)
    fields = ("class_id", "class_ids", "boxes", "box_labels", "mask", "masks", "keypoints")
    fields = (*fields, "count", "numbers")
    for split, count in (("train", 12), ("val", 6)):
        written = PictureWorld(tmp_path, split=split, fields=fields)
        drawn = PictureWorld(
            split=split, fields=fields, count=count, size=48, seed=5, classes=classes
        )
        assert len(written) == len(drawn) == count
        assert written.classes == drawn.classes
        assert drawn.labels.tolist() == written.labels.tolist()
        for one, other in zip(written, drawn, strict=True):
            np.testing.assert_array_equal(one["x"], other["x"])
            for name in fields:
                np.testing.assert_array_equal(one["target"][name], other["target"][name])
    parts = [PictureWorld(split=split, count=3)[0]["x"] for split in ("train", "val", "test")]
    assert not np.array_equal(parts[0], parts[1])
    assert not np.array_equal(parts[1], parts[2])


def test_each_shape_has_a_mask_and_an_arrow_its_marks() -> None:
    world = PictureWorld(count=40, fields=["masks", "mask", "boxes", "box_labels", "keypoints"])
    for sample in world:
        target = sample["target"]
        assert (target["masks"].sum(axis=0) == (target["mask"] > 0)).all()
        for one, box, label in zip(
            target["masks"], target["boxes"].astype(int), target["box_labels"], strict=True
        ):
            rows, columns = np.nonzero(one)
            assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == box.tolist()
            assert set(target["mask"][one > 0]) == {label + 1}
        assert target["keypoints"].shape == (0, 3)
    assert max(len(sample["target"]["boxes"]) for sample in world) == 3
    arrows = PictureWorld(count=8, classes=["arrow"], fields=["keypoints", "boxes"])
    for sample in arrows:
        points = sample["target"]["keypoints"]
        tip, left, right, tail = points[:, :2]
        assert points.shape == (len(MARKS["arrow"]), 3)
        assert (points[:, 2] == 2).all()
        x1, y1, x2, y2 = sample["target"]["boxes"][0]
        assert (points[:, :2] > [x1 - 1, y1 - 1]).all()
        assert (points[:, :2] < [x2 + 1, y2 + 1]).all()
        along, across = tip - tail, right - left
        assert abs(along @ across) < 0.01 * np.linalg.norm(along) * np.linalg.norm(across)
        assert along[0] * across[1] - along[1] * across[0] > 0, "left is always the same side"


@pytest.mark.parametrize(("look", "size"), [(Look(most_small=0), 96), (CALM, 32)])
def test_every_shape_has_the_same_area(look: Look, size: int) -> None:
    areas = []
    for number in range(len(ALL_SHAPES)):
        masks = [
            draw_picture(
                number, np.random.default_rng(seed), size=size, shapes=ALL_SHAPES, look=look
            ).mask
            for seed in range(16)
        ]
        areas.append(np.mean([(mask > 0).mean() for mask in masks]))
        assert outline(ALL_SHAPES[number]).filled
    assert max(areas) / min(areas) < 1.25


def _colors(picture: np.ndarray) -> np.ndarray:
    joint = np.histogramdd(picture.reshape(-1, 3), bins=(4, 4, 4), range=[(0, 256)] * 3)[0]
    bands = [np.histogram(picture[..., c], bins=16, range=(0, 256))[0] for c in range(3)]
    return np.concatenate([joint.ravel(), *bands]) / picture[..., 0].size


def _color_score(
    known: tuple[np.ndarray, np.ndarray], unseen: tuple[np.ndarray, np.ndarray]
) -> float:
    """The share of unseen pictures whose class a linear reader tells from their colours."""
    from sklearn.linear_model import LogisticRegression

    return float(LogisticRegression(C=10.0, max_iter=500).fit(*known).score(*unseen))


def test_colors_do_not_reveal_the_class() -> None:
    def part(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % len(CLASSES)
        rows = [
            _colors(draw_picture(int(label), np.random.default_rng(first + k), size=48).pixels)
            for k, label in enumerate(labels)
        ]
        return np.stack(rows), labels

    score = _color_score(part(0, 360), part(10_000, 180))
    assert score <= 0.35, "chance is 1/6; the house's limit is 0.6"


def test_colors_do_not_reveal_the_class_of_the_tiny_cifar_pictures() -> None:
    """All that the demo trains on, and all that it is measured on."""

    def part(split: Literal["train", "test"], count: int) -> tuple[np.ndarray, np.ndarray]:
        rows, labels = tiny_cifar10(split, count=count)
        pictures = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return np.stack([_colors(picture) for picture in pictures]), np.array(labels)

    score = _color_score(part("train", 1000), part("test", 200))
    assert score <= 0.35, "chance is 1/10; the house's limit is 0.6"


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no shape 'cat'"):
        write_picture_world(tmp_path, classes=["circle", "cat"])
    with pytest.raises(UserError, match="too small"):
        write_picture_world(tmp_path, size=4)
    with pytest.raises(UserError, match="no picture world here"):
        PictureWorld(tmp_path)
    write_picture_world(tmp_path, train=6, val=6)
    with pytest.raises(UserError, match="no split 'test'"):
        PictureWorld(tmp_path, split="test")
    with pytest.raises(UserError, match="no field depth"):
        PictureWorld(tmp_path, fields=["depth"])
    with pytest.raises(UserError, match="no split 'later'"):
        PictureWorld(split="later")
    with pytest.raises(UserError, match="no look 'grim'"):
        PictureWorld(look="grim")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="0 pictures"):
        PictureWorld(count=0)
    with pytest.raises(UserError, match="no shape 'cat'"):
        PictureWorld(classes=["cat"])


@pytest.mark.seed("S0-13", "S0-30")
def test_the_demo_reads_real_files_and_has_its_own_offline(tmp_path: Path) -> None:
    from apps.cifar10_demo.dataset import CIFAR10DataAdapter

    write_tiny_cifar10(tmp_path, train=50, test=20)
    written = CIFAR10DataAdapter(tmp_path)
    offline = CIFAR10DataAdapter(limit=50)
    assert len(written) == len(offline) == 50
    assert written[7]["target"] == offline[7]["target"] == {"class_id": 7}
    np.testing.assert_array_equal(written[7]["x"], offline[7]["x"])
    assert written[0]["x"].shape == (32, 32, 3)
    assert len(CIFAR10DataAdapter(tmp_path, split="test")) == 20
    assert [len(CIFAR10DataAdapter(split=split)) for split in ("train", "val")] == [1000, 200]
    assert list(written.classes) == list(ALL_SHAPES)
    with pytest.raises(UserError, match="no such CIFAR-10 file"):
        CIFAR10DataAdapter(tmp_path / "nowhere")


def test_the_demo_runs_nothing_that_a_pickle_asks_for(tmp_path: Path) -> None:
    import pickle

    from apps.cifar10_demo.dataset import CIFAR10DataAdapter

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("run",)

    place = write_tiny_cifar10(tmp_path, train=10, test=10)
    (place / "data_batch_1").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(UserError, match="it asks for"):
        CIFAR10DataAdapter(tmp_path)


def test_classes_are_those_of_the_fields() -> None:
    masks = PictureWorld(count=4, size=32, fields=["mask"], classes=["circle", "star"])
    assert list(masks.classes.items()) == [("background", 0), ("circle", 1), ("star", 2)]
    assert {int(one["target"]["mask"].max()) for one in masks} <= {1, 2}
    again = PictureWorld(count=4, size=32, fields=["mask"], classes=list(masks.classes))
    assert again.classes == masks.classes, "as an evaluation names them after training"
    both = PictureWorld(count=4, size=32, fields=["mask", "class_id"], classes=["circle", "star"])
    assert list(both.classes) == ["circle", "star"]
