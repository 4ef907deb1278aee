"""What the network sees is carried back to the picture in its file, whatever stood between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cvtrainer.data.randomness import DrawKey
from cvtrainer.data.transforms import Transforms
from cvtrainer.data.transforms.way_back import UNSEEN, WayBack, marked, unmarked

HEIGHT, WIDTH = 60, 100
KEY = DrawKey(0, 0, 0)

LETTERBOX = [
    {"type": "LongestMaxSize", "kwargs": {"max_size": 64}},
    {"type": "PadIfNeeded", "kwargs": {"min_height": 64, "min_width": 64}},
]
LISTS: dict[str, list[Any]] = {
    "resize": [{"type": "Resize", "kwargs": {"height": 32, "width": 32}}],
    "letterbox": LETTERBOX,
    "crop": [
        {"type": "Resize", "kwargs": {"height": 48, "width": 80}},
        {"type": "CenterCrop", "kwargs": {"height": 40, "width": 40}},
    ],
    "nothing": [],
}


def through(items: list[Any], backend: str) -> tuple[np.ndarray[Any, Any], WayBack | str]:
    """What becomes of a picture with one white spot, and the way back."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[24:30, 45:55] = 255
    sample = Transforms(backend, items)(marked({"x": pixels, "meta": {}}, HEIGHT, WIDTH), KEY)
    rest, way = unmarked(sample, "x", HEIGHT, WIDTH)
    assert "keypoints" not in rest
    return rest["x"], way


def spot(image: np.ndarray[Any, Any]) -> torch.Tensor:
    """The box around what is white."""
    rows, columns = np.nonzero(image[..., 0] > 127)
    return torch.tensor(
        [columns.min(), rows.min(), columns.max() + 1.0, rows.max() + 1.0], dtype=torch.float32
    )


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("backend", ["Albumentations", "Torchvision"])
def test_the_box_seen_in_the_input_is_the_box_in_the_file(name: str, backend: str) -> None:
    image, way = through(LISTS[name], backend)
    assert isinstance(way, WayBack)
    stretch = float(np.abs(way.matrix[:, :2]).max())
    found = way.boxes(spot(image)[None])[0]
    assert torch.allclose(found, torch.tensor([45.0, 24.0, 55.0, 30.0]), atol=stretch)
    centre = (spot(image)[:2] + spot(image)[2:]) / 2
    point = way.points(torch.cat((centre, torch.tensor([0.5]))))
    assert torch.allclose(point, torch.tensor([50.0, 27.0, 0.5]), atol=stretch)


def test_transforms_on_results_have_a_way_back_too() -> None:
    image, way = through(
        [{"type": "Resize", "kwargs": {"target_size": [32, 32], "keep_ratio": False}}], "results"
    )
    assert isinstance(way, WayBack)
    assert image.shape[:2] == (32, 32)
    assert torch.allclose(way.points(torch.tensor([[32.0, 16.0]])), torch.tensor([[100.0, 30.0]]))


@pytest.mark.parametrize("name", LISTS)
def test_a_map_gets_a_value_for_each_pixel_of_the_file(name: str) -> None:
    image, way = through(LISTS[name], "Albumentations")
    assert isinstance(way, WayBack)
    seen = torch.from_numpy((image[..., 0] > 127).astype(np.int64))
    size = (image.shape[0], image.shape[1])
    coarse = seen[::2, ::2]
    for maps in (seen, coarse):
        back = way.maps(maps[None], size)[0]
        assert back.shape == (HEIGHT, WIDTH)
        rows, columns = torch.nonzero(back == 1).T
        middle = torch.tensor([rows.float().mean() + 0.5, columns.float().mean() + 0.5])
        assert torch.allclose(middle, torch.tensor([27.0, 50.0]), atol=3.2)
        assert ((back == UNSEEN).any().item()) == (name == "crop")


def test_boxes_end_at_the_border_of_the_picture() -> None:
    _, way = through(LETTERBOX, "Albumentations")
    assert isinstance(way, WayBack)
    found = way.boxes(torch.tensor([[0.0, 0.0, 64.0, 64.0], [0.0, 0.0, 1.0, 1.0]]))
    assert torch.allclose(found[0], torch.tensor([0.0, 0.0, WIDTH, HEIGHT]))
    assert found.min() >= 0


def test_a_tensorizer_that_resizes_is_part_of_the_way() -> None:
    _, way = through([], "Albumentations")
    assert isinstance(way, WayBack)
    found = way.of_resized((HEIGHT, WIDTH), (30, 25)).points(torch.tensor([[25.0, 15.0]]))
    assert torch.allclose(found, torch.tensor([[100.0, 30.0]]))


def shrink(sample: dict[str, Any]) -> dict[str, Any]:
    return {**sample, "x": sample["x"][::2, ::2]}


def bend(sample: dict[str, Any]) -> dict[str, Any]:
    points = sample["keypoints"].copy()
    points[:, 0] += points[:, 1] ** 2 / 100
    return {**sample, "keypoints": points}


def drop(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sample.items() if name != "keypoints"}


@pytest.mark.parametrize(
    ("function", "words"),
    [(shrink, "leaves keypoints where they were"), (bend, "bends"), (drop, "drop keypoints")],
)
def test_what_has_no_way_back_says_why(function: Any, words: str) -> None:
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    sample = function(marked({"x": pixels, "meta": {}}, HEIGHT, WIDTH))
    _, way = unmarked(sample, "x", HEIGHT, WIDTH)
    assert isinstance(way, str)
    assert words in way
