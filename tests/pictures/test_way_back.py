"""Places come back to the file as they do through the transforms of a run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cvtrainer.core.input_spec import CenterCrop, InputSpec, Pad, PadTo, Resize
from cvtrainer.data.transforms.way_back import WayBack as FromPoints
from cvtrainer.pictures.way_back import WayBack

SPECS = [
    (),
    (Resize(size=(24, 40)),),
    (Resize(shorter=30), CenterCrop(size=(28, 26))),
    (Resize(longer=33), PadTo(size=(36, 36)), Pad(sides=(1, 2, 3, 4))),
    (CenterCrop(size=(70, 20), pad=True), Resize(size=(16, 12))),
]


@pytest.mark.parametrize("steps", SPECS)
@pytest.mark.parametrize("size", [(60, 45), (31, 52)])
def test_as_the_map_that_points_tell(steps: tuple[object, ...], size: tuple[int, int]) -> None:
    height, width = size
    way = WayBack.of(InputSpec(steps=steps), height, width)  # type: ignore[arg-type]
    matrix = np.array(
        [
            [1 / way.scale[0], 0, -way.offset[0] / way.scale[0]],
            [0, 1 / way.scale[1], -way.offset[1] / way.scale[1]],
        ]
    )
    other = FromPoints(matrix, height, width)
    draw = np.random.default_rng(0)
    boxes = np.sort(draw.uniform(0, 40, (2, 5, 2, 2)), axis=2).reshape(2, 5, 4).astype("f4")
    points = draw.uniform(0, 40, (2, 4, 3)).astype("f4")
    inside = (way.input_height, way.input_width)
    classes = draw.integers(0, 5, (1, -(-inside[0] // 2), -(-inside[1] // 2)))
    masks = draw.random((1, 3, *inside)) < 0.5
    np.testing.assert_allclose(
        way.boxes(boxes), other.boxes(torch.from_numpy(boxes)).numpy(), atol=1e-3
    )
    np.testing.assert_allclose(
        way.points(points), other.points(torch.from_numpy(points)).numpy(), atol=1e-3
    )
    for maps in (classes, masks):
        found = other.maps(torch.from_numpy(maps), inside).numpy()
        assert found.shape[-2:] == size
        assert (way.maps(maps) != found).mean() < 0.002


def test_a_marked_pixel_comes_back_to_its_place() -> None:
    """The centre of the picture stays there, and a corner that was cut off is not seen."""
    spec = InputSpec(steps=(Resize(shorter=20), CenterCrop(size=(20, 20))))
    way = WayBack.of(spec, 40, 80)
    assert way.points(np.array([[10.0, 10.0]])).tolist() == [[40.0, 20.0]]
    seen = way.maps(np.zeros((1, 20, 20), np.int64))
    assert seen.shape == (1, 40, 80)
    assert (seen[0, :, 20:60] == 0).all()
    assert (seen[0, :, :20] == -1).all()
    assert way.carried({"a": np.zeros((1, 1, 4))}, {"a": "boxes", "b": "map"})["a"].tolist() == [
        [[20.0, 0.0, 20.0, 0.0]]
    ]


@pytest.mark.parametrize("noise", [-1e-9, 1e-9])
def test_a_pixel_between_two_cells_is_the_same_ones_however_places_are_rounded(
    noise: float,
) -> None:
    way = WayBack.of(InputSpec(steps=(Resize(size=(64, 64)),)), 50, 70)
    matrix = np.array([[70 / 64, 0, 0], [0, 50 / 64, 0]]) * (1 + noise)
    cells = np.arange(64 * 64).reshape(64, 64)
    found = FromPoints(matrix, 50, 70).maps(torch.from_numpy(cells), (64, 64))
    assert way.maps(cells).tolist() == found.tolist()
