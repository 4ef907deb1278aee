"""Arrays in files: every kind and layout, every task, parts by name, processes and pickles."""

from __future__ import annotations

import gzip
import multiprocessing
import pickle
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.array_file import ArrayFile
from cvtrainer.data.datasets.reading.array_sources import read_idx
from cvtrainer.data.picture_world.cifar_format import tiny_cifar10, write_tiny_cifar10
from cvtrainer.data.sample import BadSample

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
LABELS = np.asarray([2, 0, 1, 0, 2])


def write_idx(path: Path, array: np.ndarray) -> Path:
    """An IDX file of unsigned bytes."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    content = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def _npz(folder: Path) -> Path:
    np.savez(folder / "a.npz", x=IMAGES, y=LABELS)
    return folder / "a.npz"


def _npz_compressed(folder: Path) -> Path:
    np.savez_compressed(folder / "a.npz", images=IMAGES, labels=LABELS)
    return folder / "a.npz"


def _hdf5(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("set/images", data=IMAGES, chunks=(2, 6, 7, 3), compression="gzip")
        file.create_dataset("set/labels", data=LABELS)
    return folder / "a.h5"


def _npy_folder(folder: Path) -> Path:
    (folder / "arrays").mkdir()
    np.save(folder / "arrays" / "images.npy", np.asfortranarray(IMAGES))
    np.save(folder / "arrays" / "labels.npy", LABELS)
    return folder / "arrays"


def _pickle(folder: Path) -> Path:
    (folder / "a.pkl").write_bytes(pickle.dumps({"x": IMAGES, "y": LABELS.tolist()}))
    return folder / "a.pkl"


WRITERS = [_npz, _npz_compressed, _hdf5, _npy_folder, _pickle]


@pytest.mark.seed("S3-82")
@pytest.mark.parametrize("write", WRITERS)
def test_every_kind_of_file_gives_the_same_samples(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path)
    data = ArrayFile(path, trust_pickle=write is _pickle)
    assert data.task == "classification"
    assert data.class_names == ("0", "1", "2")
    assert data.labels is not None
    assert data.labels.tolist() == LABELS.tolist()
    for source in (data, pickle.loads(pickle.dumps(data))):
        np.testing.assert_array_equal(source[3]["x"], IMAGES[3])
        assert source[3]["x"].dtype == np.uint8
        assert source[3]["target"] == {"class_id": 0}
        assert source[3]["meta"] == {"index": 3, "path": f"{path}[3]"}
    assert len(pickle.dumps(data)) < 3000
    assert "each row HWC" in data.evidence[0]
    data[0]["x"][:] = 0
    np.testing.assert_array_equal(data[0]["x"], IMAGES[0])


def _read_in_child(data: ArrayFile, results: Any) -> None:
    results.put(int(data[2]["x"].astype(int).sum()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("write", [_npz, _hdf5])
def test_other_processes_and_threads_read_the_same(
    tmp_path: Path, method: str, write: Callable[[Path], Path]
) -> None:
    data = ArrayFile(write(tmp_path))
    expected = int(IMAGES[2].astype(int).sum())
    assert int(data[2]["x"].astype(int).sum()) == expected
    context: Any = multiprocessing.get_context(method)
    results = context.Queue()
    child = context.Process(target=_read_in_child, args=(data, results))
    child.start()
    assert results.get(timeout=60) == expected
    child.join()
    with ThreadPoolExecutor(4) as pool:
        sums = pool.map(lambda k: int(data[k % 5]["x"].astype(int).sum()), range(200))
        assert list(sums) == [int(IMAGES[k % 5].astype(int).sum()) for k in range(200)]


def test_uncompressed_members_are_mapped(tmp_path: Path) -> None:
    data = ArrayFile(_npz(tmp_path))
    assert isinstance(data._source.arrays()["x"], np.memmap)
    np.testing.assert_array_equal(data._source.arrays()["x"], IMAGES)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_official_idx_files_are_found_in_pairs(tmp_path: Path, ending: str) -> None:
    for part, count in (("train", 5), ("t10k", 3)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{ending}", IMAGES[:count, :, :, 0])
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{ending}", LABELS[:count])
    train, test = (ArrayFile(tmp_path, split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (5, 3)
    assert test[1]["x"].shape == (6, 7, 1)
    np.testing.assert_array_equal(test[1]["x"][:, :, 0], IMAGES[1, :, :, 0])
    assert train[4]["target"] == {"class_id": 2}
    with pytest.raises(UserError, match=r"there are arrays for test and train.*split"):
        ArrayFile(tmp_path)
    with pytest.raises(UserError, match=r"no array is of split 'val'\. There is test, train"):
        ArrayFile(tmp_path, split="val")
    alone = ArrayFile(tmp_path / f"t10k-images-idx3-ubyte{ending}")
    assert alone[0]["target"] == {"class_id": 2}


def test_damaged_idx_files_are_refused(tmp_path: Path) -> None:
    file = write_idx(tmp_path / "a.idx", IMAGES)
    np.testing.assert_array_equal(read_idx(file), IMAGES)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match="629 bytes of data instead of 630"):
        ArrayFile(file)
    file.write_bytes(b"nothing at all")
    with pytest.raises(UserError, match="not an IDX file"):
        ArrayFile(file)
    (tmp_path / "b.idx.gz").write_bytes(gzip.compress(file.read_bytes())[:-4])
    with pytest.raises(UserError, match="the arrays cannot be read"):
        ArrayFile(tmp_path / "b.idx.gz")


def _saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


@pytest.mark.parametrize(
    ("x", "layout", "expected"),
    [
        (IMAGES[..., 0], None, IMAGES[1, :, :, :1]),
        (IMAGES.transpose(0, 3, 1, 2), None, IMAGES[1]),
        (IMAGES.astype(np.int64), None, IMAGES[1]),
        (IMAGES.astype(np.uint16) * 257, None, IMAGES[1]),
        (IMAGES[..., 0] > 99, None, (IMAGES[1, :, :, :1] > 99) * np.uint8(255)),
        (IMAGES.astype(np.float64) / 4, None, IMAGES[1].astype(np.float32) / 4),
        (IMAGES[:, :3], "HWC", IMAGES[1, :3]),
        (IMAGES[..., 0] / 4.0, "TC", IMAGES[1, :, :, 0].astype(np.float32) / 4),
        (IMAGES[..., 0] / 4.0, "CT", IMAGES[1, :, :, 0].astype(np.float32).T / 4),
        (IMAGES[..., 0] / 4.0, "HW", IMAGES[1, :, :, :1].astype(np.float32) / 4),
        (IMAGES[:, 0, :, 0], None, IMAGES[1, 0, :, 0].astype(np.float32)),
    ],
)
def test_layouts_and_types(tmp_path: Path, x: Any, layout: str | None, expected: Any) -> None:
    data = ArrayFile(_saved(tmp_path, x=x), layout=layout)
    assert data.task == "generation"
    found = data[1]["x"]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    x = np.zeros((1, 2, 2, 4), dtype=np.uint8)
    x[0, 0, :, 3] = 255
    pixels = ArrayFile(_saved(tmp_path, x=x))[0]["x"]
    assert pixels[0].max() == 0
    assert pixels[1].min() == 255


@pytest.mark.parametrize(
    ("y", "task", "field", "expected"),
    [
        (np.eye(3)[LABELS].astype(int), "classification", "class_id", 2),
        (LABELS[:, None], "classification", "class_id", 2),
        (np.asarray(["c", "a", "b", "a", "c"]), "classification", "class_id", 2),
        (np.asarray([[1, 1, 0], [0, 0, 0]] + [[1, 0, 1]] * 3), "multilabel", "class_ids", [0, 1]),
        (np.linspace(0, 1, 5), "regression", "value", 0.0),
        (np.ones((5, 2)), "regression", "value", [1.0, 1.0]),
        (IMAGES[..., 0] % 3, "segmentation", "mask", (IMAGES[0, :, :, 0] % 3).tolist()),
    ],
)
def test_targets_of_every_task(
    tmp_path: Path, y: Any, task: str, field: str, expected: Any
) -> None:
    data = ArrayFile(_saved(tmp_path, x=IMAGES, y=y))
    assert data.task == task
    assert list(data[0]["target"]) == [field]
    assert np.asarray(data[0]["target"][field]).tolist() == expected


def test_masks_key_points_groups_and_names(tmp_path: Path) -> None:
    points = np.arange(20, dtype=float).reshape(5, 2, 2)
    points[1, 0] = np.nan
    path = _saved(
        tmp_path,
        x=IMAGES,
        y=LABELS,
        masks=IMAGES[..., 1] % 2,
        landmarks=points,
        group=np.asarray(list("aabbc")),
        class_names=np.asarray(["p", "q", "r"]),
    )
    data = ArrayFile(path, task="keypoints")
    assert data[0]["target"]["keypoints"].tolist() == [[0, 1, 2], [2, 3, 2]]
    assert data[1]["target"]["keypoints"].tolist() == [[0, 0, 0], [6, 7, 2]]
    assert list(data.groups or ()) == list("aabbc")
    masks = ArrayFile(path)
    assert masks.task == "segmentation"
    assert masks[2]["target"]["mask"].dtype == np.uint8
    np.testing.assert_array_equal(masks[2]["target"]["mask"], IMAGES[2, :, :, 1] % 2)
    classes = ArrayFile(path, task="classification")
    assert classes.classes == {"p": 0, "q": 1, "r": 2}


def test_parts_in_one_file_and_labels_in_another(tmp_path: Path) -> None:
    path = _saved(tmp_path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:2], y_test=LABELS[:2])
    assert len(ArrayFile(path, split="test")) == 2
    assert ArrayFile(path, split="train")[4]["target"] == {"class_id": 2}
    np.save(tmp_path / "pictures.npy", IMAGES)
    np.save(tmp_path / "answers.npy", LABELS)
    data = ArrayFile(tmp_path / "pictures.npy", labels=tmp_path / "answers.npy")
    assert data[0]["target"] == {"class_id": 2}
    keys = {"x": "x_test", "y": "y_test"}
    assert len(ArrayFile(path, keys=keys)) == 2


def test_bad_rows_are_bad_samples(tmp_path: Path) -> None:
    x = np.zeros((3, 4))
    x[1, 2] = np.nan
    data = ArrayFile(_saved(tmp_path, x=x, y=np.asarray([0.0, 1.0, np.nan])))
    with pytest.raises(BadSample, match=r"a\.npz\[1\]: x is not a number"):
        data.record(1)
    with pytest.raises(BadSample, match="value is not a number"):
        data.record(2)
    data = ArrayFile(_saved(tmp_path, x=IMAGES, y=LABELS - 1), classes=["a"])
    with pytest.raises(BadSample, match="the label is missing or none of the 1 classes"):
        data.record(1)
    data = ArrayFile(_saved(tmp_path, x=IMAGES.astype(int) * 9))
    with pytest.raises(BadSample, match="pixels outside of 0 to 255"):
        data.record(1)


def _error(tmp_path: Path, message: str, arguments: dict[str, Any], **arrays: Any) -> None:
    with pytest.raises(UserError, match=message) as error:
        ArrayFile(_saved(tmp_path, **arrays), **arguments)
    assert "\n" not in str(error.value)


def test_what_is_unclear_or_wrong_is_one_line(tmp_path: Path) -> None:
    _error(tmp_path, "x has 5 rows, but y has 4", {}, x=IMAGES, y=LABELS[:4])
    _error(tmp_path, "images and img could each be x", {}, images=IMAGES, img=IMAGES)
    _error(tmp_path, "may be HW or TC", {}, x=IMAGES[..., 0] / 2)
    _error(tmp_path, "may be HWC or CHW", {}, x=IMAGES[:, :3])
    _error(tmp_path, "layout: 'WH'", {"layout": "WH"}, x=IMAGES)
    _error(tmp_path, "no array is clearly the input", {}, one=IMAGES, two=IMAGES)
    _error(tmp_path, r"no array 'z'\. There is x", {"keys": {"x": "z"}}, x=IMAGES)
    _error(tmp_path, "arrays have no purpose 'z'", {"keys": {"z": "x"}}, x=IMAGES)
    _error(tmp_path, "may be several things", {}, x=IMAGES, y=LABELS[:, None] * [1, 2])
    _error(
        tmp_path, "class numbers must be whole", {"task": "classification"}, x=IMAGES, y=[0.5] * 5
    )
    _error(tmp_path, "task detection needs boxes", {"task": "detection"}, x=IMAGES, y=LABELS)
    objects = np.asarray([{"a": 1}] * 5, dtype=object)
    _error(tmp_path, "Python objects|Object arrays", {}, x=objects)
    with pytest.raises(UserError, match="no such array file"):
        ArrayFile(tmp_path / "nothing.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="the folder holds no files of arrays"):
        ArrayFile(tmp_path / "empty")
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(UserError, match="not a file of arrays"):
        ArrayFile(tmp_path / "a.bin")
    (tmp_path / "b.npz").write_bytes(b"PK no archive")
    with pytest.raises(UserError, match="the arrays cannot be read"):
        ArrayFile(tmp_path / "b.npz")


def test_pickles_need_trust(tmp_path: Path) -> None:
    path = _pickle(tmp_path)
    with pytest.raises(UserError, match=r"can run any code.*trust_pickle: true"):
        ArrayFile(path)
    path.write_bytes(b"\x80no pickle")
    with pytest.raises(UserError, match="the pickle cannot be read"):
        ArrayFile(path, trust_pickle=True)


def test_cifar_in_its_python_version(tmp_path: Path) -> None:
    place = write_tiny_cifar10(tmp_path, train=30, test=10)
    with pytest.raises(UserError, match="can run any code"):
        ArrayFile(place, split="train")
    data = ArrayFile(place, split="test", trust_pickle=True)
    rows, labels = tiny_cifar10("test", count=10)
    assert len(data) == 10
    assert len(data.classes) == 10
    assert data.labels is not None
    assert data.labels.tolist() == labels
    np.testing.assert_array_equal(data[4]["x"], rows[4].reshape(3, 32, 32).transpose(1, 2, 0))
    assert len(ArrayFile(place, split="train", trust_pickle=True)) == 30


@pytest.mark.seed("S3-82")
def test_fashion_mnist(data_sets: Path) -> None:
    folder = data_sets / "fashion-mnist"
    train, test = (ArrayFile(folder, split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (60_000, 10_000)
    assert np.bincount(train.labels).tolist() == [6000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert train[59_999]["x"].shape == (28, 28, 1)
