"""What can be given to a prediction, in which order it comes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.sample import BadSample
from cvtrainer.jobs.prediction.inputs import Taken, inputs_of

PIXELS = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


def names(given: Any, taken: Taken = Taken()) -> list[str]:  # noqa: B008 (it is frozen)
    return [one.name for one in inputs_of(given, taken)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.jpg", "deep/er/c.PNG", "notes.txt", ".hidden.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            path.write_text("no picture", encoding="utf-8")
        else:
            Image.fromarray(PIXELS).save(path)
    return tmp_path / "in"


def test_folders_patterns_and_files_come_as_given_and_sorted_within(folder: Path) -> None:
    found = [str(folder / name) for name in ("a.jpg", "b.png", "deep/er/c.PNG")]
    assert names(str(folder)) == found
    assert names(folder) == found
    assert names(f"{folder}/*.png") == [found[1]]
    assert names(f"{folder}/**/*.[pP]*") == [found[1], found[2]]
    assert names([found[2], found[0], str(folder / "deep")]) == [found[2], found[0], found[2]]
    assert all(isinstance(one.value, Encoded) for one in inputs_of(str(folder), Taken()))


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    odd = folder / "a[1].png"
    Image.fromarray(PIXELS).save(odd)
    assert names(str(odd)) == [str(odd)]


@pytest.mark.parametrize("given", ["nothing.png", "nothing/*.png"])
def test_what_is_not_there_is_an_error_at_once(given: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing"):
        names(str(tmp_path / given))
    with pytest.raises(UserError, match="no picture, sound or tensor file"):
        names(str(tmp_path))


def test_pictures_in_memory() -> None:
    planes = torch.from_numpy(PIXELS.transpose(2, 0, 1).copy())
    given = [Image.fromarray(PIXELS), PIXELS, planes, PIXELS[..., 0], np.stack([PIXELS, PIXELS])]
    found = list(inputs_of(given, Taken()))
    assert [one.name for one in found] == ["[0]", "[1]", "[2]", "[3]", "[4][0]", "[4][1]"]
    for number in (0, 1, 2, 4, 5):
        assert np.array_equal(np.asarray(found[number].value), PIXELS)
    assert np.asarray(found[3].value).shape == (5, 7, 1)
    assert not any(one.ready for one in found)


def test_numbers_that_are_no_bytes_are_ready(tmp_path: Path) -> None:
    floats = torch.rand(2, 3, 5, 7)
    np.save(tmp_path / "one.npy", floats[0].numpy().astype(np.float64))
    np.savez(tmp_path / "two.npz", first=floats[0].numpy(), second=PIXELS)
    torch.save({"x": floats, "y": floats[1], "label": 3}, tmp_path / "three.pt")
    found = list(
        inputs_of([tmp_path / f"{n}" for n in ("one.npy", "two.npz", "three.pt")], Taken())
    )
    assert [one.name.removeprefix(f"{tmp_path}/") for one in found] == [
        "one.npy",
        "two.npz[first]",
        "two.npz[second]",
        "three.pt[x][0]",
        "three.pt[x][1]",
        "three.pt[y]",
    ]
    assert [one.ready for one in found] == [True, True, False, True, True, True]
    assert torch.equal(torch.as_tensor(found[0].value), floats[0])


def test_arrays_of_other_kinds_stay_what_they_are() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    vectors = list(inputs_of(rows, Taken(pictures=False, dims=1)))
    assert [one.name for one in vectors] == [f"input[{n}]" for n in range(4)]
    assert np.array_equal(np.asarray(vectors[2].value), rows[2])
    (series,) = inputs_of(rows, Taken(pictures=False, dims=2))
    assert not series.ready
    assert np.asarray(series.value).shape == (4, 6)


def test_a_tensor_file_that_would_run_something_is_not_opened(tmp_path: Path) -> None:
    torch.save({"x": Path("elsewhere")}, tmp_path / "bad.pt")
    (tmp_path / "worse.npy").write_bytes(b"no array")
    found = list(inputs_of([tmp_path / "bad.pt", tmp_path / "worse.npy"], Taken()))
    assert all(isinstance(one.value, BadSample) for one in found)


def test_what_is_no_picture_is_refused() -> None:
    for given in (np.zeros((2, 2), np.float32), np.zeros(5, np.uint8)):
        with pytest.raises(UserError, match="is no picture"):
            names(given)
    with pytest.raises(UserError, match="the mapping has no x, but y"):
        names({"y": 1})
