"""Small clean data sets of many storages, and defects that are planted into them one by one.

A world writes clean files; each plant spoils something and says which check must name which file.
"""

from __future__ import annotations

import json
import struct
import wave
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from cvtrainer.data.datasets.audio_folder import AudioFolder
from cvtrainer.data.datasets.coco import Coco
from cvtrainer.data.datasets.image_folder import ImageFolder
from cvtrainer.data.datasets.instance_masks import InstanceMasks
from cvtrainer.data.datasets.mask_pairs import MaskPairs
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.datasets.table import Table
from cvtrainer.data.datasets.text_lines import TextLines
from cvtrainer.data.index import Index
from cvtrainer.data.survey import Subject

SIZE = (96, 128)


class Expected(NamedTuple):
    """What must be found: the check, and a part of the file's name (or of the sentence)."""

    check: str
    where: str


class World(NamedTuple):
    """How to write the clean data, how to open it, and what can be planted."""

    write: Callable[[Path], None]
    open: Callable[[Path], list[Subject]]
    plants: Callable[[Path], list[Expected]]


def texture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A picture of soft colours and some shapes, unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 236, (6, 8, 3), dtype=np.uint8)
    grown = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    for _ in range(4):
        at = (int(rng.integers(size[1])), int(rng.integers(size[0])))
        colour = [int(c) for c in rng.integers(0, 256, 3)]
        cv2.circle(grown, at, int(rng.integers(4, 20)), colour, -1)
    noise = rng.normal(0, 3, grown.shape)
    return np.clip(grown + noise, 0, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **settings: Any) -> Path:
    """The pixels in that file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **settings)
    return path


# Class folders


def write_folders(root: Path) -> None:
    for split, start in (("train", 0), ("val", 500)):
        for number, name in enumerate(("cat", "dog", "猫")):
            for k in range(12):
                pixels = texture(start + 100 * number + k)
                save(root / split / name / f"{split}{number}{k:02}.jpg", pixels, quality=92)


def open_folders(root: Path) -> list[Subject]:
    train = ImageFolder(root / "train")
    return [
        Subject("train", train),
        Subject("val", ImageFolder(root / "val", classes=train.class_names)),
    ]


def _bomb() -> bytes:
    """A PNG that announces 30000x30000 pixels and is 100 bytes long."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def plant_in_folders(root: Path) -> list[Expected]:
    train, val = root / "train", root / "val"
    cat = train / "cat"
    first = cat / "train000.jpg"
    (cat / "noise.jpg").write_bytes(np.random.default_rng(1).bytes(900))
    (cat / "half.jpg").write_bytes((cat / "train001.jpg").read_bytes()[:1500])
    (cat / "empty.jpg").write_bytes(b"")
    (cat / "bomb.png").write_bytes(_bomb())
    save(cat / "really_png.jpg", texture(900), format="PNG")
    save(cat / "flat.png", np.full((*SIZE, 3), 77, np.uint8))
    save(cat / "tiny.png", texture(901, (9, 12)))
    save(cat / "huge.jpg", texture(902, (1200, 1500)))
    save(cat / "strip.png", texture(903, (40, 600)))
    save(cat / "same.png", np.asarray(Image.open(first)))
    (train / "dog" / "cat_again.jpg").write_bytes((cat / "train002.jpg").read_bytes())
    with Image.open(cat / "train003.jpg") as picture:
        picture.save(cat / "worse.jpg", quality=35)
    with Image.open(cat / "train004.jpg") as picture:
        picture.crop((6, 5, 120, 92)).save(cat / "crop.jpg", quality=85)
    with Image.open(cat / "train005.jpg") as picture:
        picture.resize((96, 72), Image.Resampling.BICUBIC).save(cat / "smaller.png")
    (val / "cat" / "leaked.jpg").write_bytes((cat / "train006.jpg").read_bytes())
    with Image.open(cat / "train007.jpg") as picture:
        picture.resize((160, 120), Image.Resampling.BICUBIC).save(val / "cat" / "seen.jpg")
    Image.fromarray(texture(904)).convert("CMYK").save(cat / "ink.jpg", quality=92)
    deep = (texture(905)[:, :, 0].astype(np.uint16) * 257)[:, :, None].squeeze()
    Image.fromarray(deep).save(cat / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    save(cat / "turned.jpg", texture(906), exif=exif)
    save(cat / "grey.png", texture(907)[:, :, 1])
    glass = np.dstack([texture(908), np.full(SIZE, 255, np.uint8)])
    glass[10:30, 10:30, 3] = 90
    save(cat / "glass.png", glass)
    frames = [Image.fromarray(texture(909 + k)) for k in range(2)]
    frames[0].save(cat / "film.gif", save_all=True, append_images=frames[1:])
    for path in (val / "dog").glob("*.jpg"):
        path.unlink()
    (val / "dog").rmdir()
    return [
        Expected("unreadable", "noise.jpg"),
        Expected("truncated", "half.jpg"),
        Expected("empty-file", "empty.jpg"),
        Expected("bomb", "bomb.png"),
        Expected("wrong-extension", "really_png.jpg"),
        Expected("constant-image", "flat.png"),
        Expected("tiny-image", "tiny.png"),
        Expected("size-outlier", "huge.jpg"),
        Expected("aspect-outlier", "strip.png"),
        Expected("duplicate", "train000.jpg"),
        Expected("duplicate", "cat_again.jpg"),
        Expected("label-conflict", "cat_again.jpg"),
        Expected("near-duplicate", "worse.jpg"),
        Expected("near-duplicate", "train004.jpg"),
        Expected("near-duplicate", "train005.jpg"),
        Expected("leak", "leaked.jpg"),
        Expected("near-leak", "seen.jpg"),
        Expected("cmyk", "ink.jpg"),
        Expected("alpha", "glass.png"),
        Expected("animated", "film.gif"),
        Expected("deep-colour", "deep.png"),
        Expected("exif-orientation", "turned.jpg"),
        Expected("grey-among-colour", "grey.png"),
        Expected("grey-among-colour", "deep.png"),
        Expected("class-missing", "class dog"),
    ]


# Boxes of COCO


def _coco(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / "annotations.json").read_text())
    return content


def write_coco(root: Path) -> None:
    images, annotations = [], []
    for k in range(24):
        save(root / "images" / f"{k:03}.jpg", texture(2000 + k), quality=92)
        images.append({"id": k, "file_name": f"{k:03}.jpg", "width": 128, "height": 96})
        for n in range(3):
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": k,
                    "category_id": 1 + n % 2,
                    "bbox": [5 + 30 * n + k / 4, 10 + k, 25, 30],
                }
            )
    categories = [{"id": 1, "name": "cup"}, {"id": 2, "name": "pen"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(content))


def open_coco(root: Path) -> list[Subject]:
    return [Subject("train", Coco(root / "annotations.json", images=root / "images"))]


def plant_in_coco(root: Path) -> list[Expected]:
    content = _coco(root)
    boxes = content["annotations"]
    boxes[0]["bbox"] = [10, 10, 0, 20]
    boxes[3]["bbox"] = [60, 10, -20, 20]
    boxes[6]["bbox"] = [110, 10, 40, 20]
    boxes[9]["bbox"] = [300, 10, 20, 20]
    boxes[12]["bbox"] = [20, 20, 0.4, 10]
    boxes.append({**boxes[15], "id": 900})
    boxes[18]["bbox"] = [float("nan"), 1, 2, 3]
    boxes[21]["bbox"] = [1, 2, 3]
    boxes[24]["category_id"] = 77
    content["images"][9] |= {"width": 640, "height": 480}
    for k in range(80):
        box = [k % 10 * 12, k // 10 * 11, 10, 9]
        boxes.append({"id": 1000 + k, "image_id": 10, "category_id": 1, "bbox": box})
    exif = Image.Exif()
    exif[0x0112] = 6
    save(root / "images" / "011.jpg", texture(2111), quality=92, exif=exif)
    (root / "images" / "012.jpg").unlink()
    save(root / "images" / "nobody.jpg", texture(2999), quality=92)
    content["annotations"] = [one for one in boxes if one["image_id"] != 13]
    content["categories"].append({"id": 5, "name": "ghost"})
    (root / "annotations.json").write_text(json.dumps(content))
    return [
        Expected("box-zero-area", "000.jpg"),
        Expected("box-inverted", "001.jpg"),
        Expected("box-outside", "002.jpg"),
        Expected("box-outside", "003.jpg"),
        Expected("box-tiny", "004.jpg"),
        Expected("box-duplicate", "005.jpg"),
        Expected("box-not-finite", "006.jpg"),
        Expected("bad-annotation", "annotations.json"),
        Expected("label-range", "annotations.json"),
        Expected("annotated-size", "009.jpg"),
        Expected("box-count", "010.jpg"),
        Expected("exif-annotation", "011.jpg"),
        Expected("missing-file", "012.jpg"),
        Expected("no-boxes", "013.jpg"),
        Expected("unused-class", "class ghost"),
        Expected("unreferenced", "nobody.jpg"),
    ]


# Keypoints


def write_keypoints(root: Path) -> None:
    images, annotations = [], []
    for k in range(12):
        save(root / "images" / f"{k:03}.jpg", texture(3000 + k), quality=92)
        images.append({"id": k, "file_name": f"{k:03}.jpg", "width": 128, "height": 96})
        points = [20 + k, 30, 2, 40, 50 + k, 2, 60, 20, 1]
        one = {"id": k, "image_id": k, "category_id": 1, "bbox": [10, 10, 80, 70]}
        annotations.append({**one, "keypoints": points, "num_keypoints": 3})
    category = {"id": 1, "name": "hand", "keypoints": ["a", "b", "c"]}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    (root / "annotations.json").write_text(json.dumps(content))


def open_keypoints(root: Path) -> list[Subject]:
    dataset = Coco(root / "annotations.json", images=root / "images", task="keypoints")
    return [Subject("train", dataset)]


def plant_in_keypoints(root: Path) -> list[Expected]:
    content = _coco(root)
    content["annotations"][0]["keypoints"][0] = 400
    content["annotations"][1]["keypoints"][2] = 7
    (root / "annotations.json").write_text(json.dumps(content))
    return [Expected("keypoint-outside", "000.jpg"), Expected("keypoint-flag", "001.jpg")]


# Class masks


def write_masks(root: Path) -> None:
    for k in range(20):
        save(root / "images" / f"{k:03}.jpg", texture(4000 + k), quality=92)
        mask = np.zeros(SIZE, np.uint8)
        mask[20:60, 10 + k : 60 + k] = 1
        mask[70:80, 5:20] = 255
        save(root / "masks" / f"{k:03}.png", mask)


def open_masks(root: Path) -> list[Subject]:
    return [Subject("train", MaskPairs(root, values={0: "ground", 1: "thing"}))]


def plant_in_masks(root: Path) -> list[Expected]:
    masks = root / "masks"
    small = np.zeros((50, 60), np.uint8)
    small[10:30] = 1
    save(masks / "000.png", small)
    strange = np.zeros(SIZE, np.uint8)
    strange[:9] = 1
    strange[10] = 9
    save(masks / "001.png", strange)
    save(masks / "002.png", np.zeros(SIZE, np.uint8))
    (masks / "003.png").write_bytes(b"no mask at all")
    (masks / "004.png").unlink()
    return [
        Expected("mask-size", "000.jpg"),
        Expected("label-range", "001.png"),
        Expected("mask-one-class", "002.jpg"),
        Expected("mask-unreadable", "003.png"),
        Expected("left-out", "004"),
    ]


# A folder per picture, a mask per object


def write_instances(root: Path) -> None:
    for k in range(10):
        save(root / f"p{k}" / "images" / f"p{k}.png", texture(5000 + k))
        for n in range(3):
            mask = np.zeros(SIZE, np.uint8)
            mask[10:40, 5 + 35 * n : 30 + 35 * n] = 255
            save(root / f"p{k}" / "masks" / f"m{n}.png", mask)


def open_instances(root: Path) -> list[Subject]:
    return [Subject("train", InstanceMasks(root))]


def plant_in_instances(root: Path) -> list[Expected]:
    save(root / "p0" / "masks" / "m1.png", np.zeros(SIZE, np.uint8))
    mask = np.zeros(SIZE, np.uint8)
    mask[10:40, 6:28] = 255
    save(root / "p1" / "masks" / "m1.png", mask)
    return [Expected("instance-empty", "p0.png"), Expected("instance-overlap", "p1.png")]


# Sounds


def save_sound(path: Path, values: np.ndarray, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(values, -1, 1) * 32767).astype("<i2").tobytes())


def tone(seed: int, length: int = 1600) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wave_ = np.sin(np.arange(length) * rng.uniform(0.05, 0.6)) * 0.6
    return wave_ + rng.normal(0, 0.02, length)


def write_sounds(root: Path) -> None:
    for number, name in enumerate(("go", "stop")):
        for k in range(12):
            save_sound(root / name / f"{name}{k:02}.wav", tone(100 * number + k, 1500 + 9 * k))


def open_sounds(root: Path) -> list[Subject]:
    return [Subject("train", AudioFolder(root))]


def plant_in_sounds(root: Path) -> list[Expected]:
    go = root / "go"
    save_sound(go / "silent.wav", np.zeros(1600))
    save_sound(go / "clipped.wav", np.clip(tone(900) * 6, -1, 1))
    save_sound(go / "fast.wav", tone(901), rate=44100)
    save_sound(go / "long.wav", tone(902, 40000))
    (go / "broken.wav").write_bytes(b"RIFF" + bytes(30))
    (root / "stop" / "go_again.wav").write_bytes((go / "go00.wav").read_bytes())
    return [
        Expected("sound-silent", "silent.wav"),
        Expected("sound-clipped", "clipped.wav"),
        Expected("sound-rate", "fast.wav"),
        Expected("sound-length", "long.wav"),
        Expected("unreadable", "broken.wav"),
        Expected("duplicate", "go_again.wav"),
        Expected("label-conflict", "go_again.wav"),
    ]


# Texts

_WORDS = ("river", "stone", "light", "morning", "quiet", "winter", "garden", "silver", "letter")


def _sentence(seed: int) -> str:
    rng = np.random.default_rng(seed)
    return " ".join(_WORDS[k] for k in rng.integers(0, len(_WORDS), 9)) + f" {seed}"


def write_texts(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("calm", "loud")):
        lines = [_sentence(1000 * number + k) for k in range(30)]
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def open_texts(root: Path) -> list[Subject]:
    return [Subject("train", TextLines(root))]


def plant_in_texts(root: Path) -> list[Expected]:
    first = (root / "calm.txt").read_text().splitlines()[0]
    with (root / "loud.txt").open("a", encoding="utf-8") as file:
        file.write("--- ...\n" + "a caf\ufffd by the sea\n" + first.upper() + "\n")
    return [
        Expected("text-empty", "loud.txt:31"),
        Expected("text-damaged", "loud.txt:32"),
        Expected("duplicate", "loud.txt:33"),
        Expected("label-conflict", "loud.txt:33"),
    ]


# Tables


def write_table(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    rows = [",".join(f"{v:.4f}" for v in rng.normal(5, 1, 4)) for _ in range(80)]
    (root / "table.csv").write_text("a,b,c,price\n" + "\n".join(rows) + "\n")


def open_table(root: Path) -> list[Subject]:
    columns = {"inputs": ["a", "b", "c"], "value": "price"}
    return [Subject("train", Table(root / "table.csv", columns=columns))]


def plant_in_table(root: Path) -> list[Expected]:
    lines = (root / "table.csv").read_text().splitlines()
    lines[3] = lines[3].rpartition(",")[0] + ",99999"
    lines[5] = lines[5].rpartition(",")[0] + ","
    lines[7] = "," + lines[7].partition(",")[2]
    lines[9] = lines[8]
    lines[11] = lines[10].rpartition(",")[0] + ",4.1"
    (root / "table.csv").write_text("\n".join(lines) + "\n")
    return [
        Expected("value-outlier", "table.csv[2]"),
        Expected("missing-value", "table.csv[4]"),
        Expected("missing-value", "table.csv[6]"),
        Expected("duplicate", "table.csv[8]"),
        Expected("duplicate", "table.csv[10]"),
        Expected("label-conflict", "table.csv[10]"),
    ]


# What a user's own storage may hold: series, groups, labels, boxes with other numbers of labels


class Memory(StoredDataset):
    """Arrays in memory with the columns of an index."""

    def __init__(self, inputs: list[Any], task: str, columns: dict[str, Any], classes: Any) -> None:
        super().__init__(Index.of(columns), root="memory", task=task, classes=classes)
        self._inputs = inputs

    def input(self, row: int) -> Any:
        return self._inputs[row]

    def file(self, row: int) -> str:
        return f"memory/{row:02}"

    def field(self, name: str, row: int) -> Any:
        if name == "masks":
            return np.asarray(self.index.value(name, row), dtype=np.uint8).reshape(-1, *SIZE)
        return super().field(name, row)


def series_world(*, planted: bool) -> tuple[list[Subject], list[Expected]]:
    rng = np.random.default_rng(8)
    inputs = [np.cumsum(rng.normal(size=(50 + k, 2)), axis=0).astype(np.float32) for k in range(24)]
    labels = [k % 2 for k in range(24)]
    if planted:
        inputs[0][7, 1] = np.nan
        inputs[1][:] = 3.0
        inputs[2][:, 0] = 1.0
        inputs[3] = np.tile(inputs[3], (40, 1))
        labels[4] = 9
    columns = {"class_id": np.array(labels)}
    subject = Subject("train", Memory(inputs, "classification", columns, ("up", "down")))
    return [subject], [
        Expected("not-finite", "memory/00"),
        Expected("series-constant", "memory/01"),
        Expected("series-constant", "memory/02"),
        Expected("series-length", "memory/03"),
        Expected("label-range", "memory/04"),
    ]


def group_world(*, planted: bool) -> tuple[list[Subject], list[Expected]]:
    def part(split: str, start: int, groups: list[str]) -> Subject:
        pictures = [texture(start + k) for k in range(len(groups))]
        lists = [[k % 3] for k in range(len(groups))]
        if planted and split == "train":
            lists[0], lists[1] = [], [1, 1]
        columns = {"class_ids": lists, "group": groups}
        return Subject(split, Memory(pictures, "multilabel", columns, ("a", "b", "c")))

    others = ["p9", "p8", "p8", "p7", "p7", "p9"]
    if planted:
        others[1] = "p2"
    subjects = [
        part("train", 7000, ["p1", "p1", "p2", "p2", "p3", "p3"]),
        part("val", 7100, others),
    ]
    return subjects, [
        Expected("group-leak", "memory/01"),
        Expected("no-labels", "memory/00"),
        Expected("repeated-label", "memory/01"),
    ]


def object_world(*, planted: bool) -> tuple[list[Subject], list[Expected]]:
    pictures = [texture(8000 + k) for k in range(10)]
    boxes = [[[10.0, 10, 40, 40], [50, 20, 90, 60]] for _ in range(10)]
    labels = [[0, 1] for _ in range(10)]
    masks = []
    for _ in range(10):
        stack = np.zeros((2, *SIZE), np.uint8)
        stack[0, 10:40, 10:40] = 1
        stack[1, 20:60, 50:90] = 1
        masks.append(stack)
    if planted:
        labels[0] = [0]
        masks[1][1] = 0
        masks[2] = masks[2][:1]
    columns = {
        "boxes": [np.ravel(one).tolist() for one in boxes],
        "box_labels": labels,
        "masks": [one.ravel() for one in masks],
    }
    subject = Subject("train", Memory(pictures, "instances", columns, ("a", "b")))
    return [subject], [
        Expected("box-labels", "memory/00"),
        Expected("instance-count", "memory/00"),
        Expected("instance-empty", "memory/01"),
        Expected("instance-count", "memory/02"),
    ]


WORLDS: dict[str, World] = {
    "image folder": World(write_folders, open_folders, plant_in_folders),
    "coco boxes": World(write_coco, open_coco, plant_in_coco),
    "coco keypoints": World(write_keypoints, open_keypoints, plant_in_keypoints),
    "mask pairs": World(write_masks, open_masks, plant_in_masks),
    "instance masks": World(write_instances, open_instances, plant_in_instances),
    "sounds": World(write_sounds, open_sounds, plant_in_sounds),
    "texts": World(write_texts, open_texts, plant_in_texts),
    "table": World(write_table, open_table, plant_in_table),
}
MEMORY_WORLDS = {"series": series_world, "groups": group_world, "objects": object_world}
