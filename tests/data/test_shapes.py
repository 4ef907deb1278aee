"""Polygons and run lengths against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cvtrainer.data.shapes import (
    extent,
    pack_polygons,
    pack_segmentation,
    paint,
    paint_runs,
    read_letters,
)


def _rows(mask: np.ndarray) -> list[str]:
    return ["".join(".#"[v] for v in row) for row in mask.tolist()]


def test_a_rectangle_covers_the_pixels_of_its_box() -> None:
    mask = paint(pack_polygons([[1, 1, 4, 1, 4, 3, 1, 3]]), 4, 6)
    assert _rows(mask) == ["......", ".###..", ".###..", "......"]
    assert mask.dtype == np.uint8


def test_a_pixel_belongs_where_its_centre_is_inside() -> None:
    half = paint(pack_polygons([[0.6, 0.4, 3.4, 0.4, 3.4, 1.6, 0.6, 1.6]]), 3, 5)
    assert _rows(half) == [".##..", ".##..", "....."]
    triangle = paint(pack_polygons([[0, 0, 4, 0, 0, 4]]), 4, 4)
    assert _rows(triangle) == ["###.", "##..", "#...", "...."]


def test_neighbours_share_no_pixel_and_leave_no_gap() -> None:
    points = np.random.default_rng(3).uniform(-4, 24, (200, 3, 2))
    for a, b, c in points:
        d = a + c - b
        one = paint(pack_polygons([[*a, *b, *c]]), 20, 20)
        other = paint(pack_polygons([[*a, *c, *d]]), 20, 20)
        both = paint(pack_polygons([[*a, *b, *c, *d]]), 20, 20)
        np.testing.assert_array_equal(one + other, both)


def test_parts_are_united_and_a_crossing_outline_is_even_odd() -> None:
    two = pack_polygons([[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 4, 1, 4, 2, 1, 2]])
    assert _rows(paint(two, 2, 4)) == ["##..", "####"]
    assert extent(two) == (0, 0, 4, 2)
    twice = pack_polygons([[0, 0, 4, 0, 4, 4, 0, 4, 0, 0, 1, 1, 3, 1, 3, 3, 1, 3, 1, 1]])
    assert _rows(paint(twice, 4, 4)) == ["####", "#..#", "#..#", "####"]


def test_outside_of_the_picture_is_cut() -> None:
    mask = paint(pack_polygons([[-3, -3, 2, -3, 2, 9, -3, 9]]), 3, 3)
    assert _rows(mask) == ["##.", "##.", "##."]
    assert not paint(pack_polygons([[5, 5, 9, 5, 9, 9]]), 3, 3).any()
    assert not paint(pack_polygons([[-5, 1, -2, 1, -2, 2, -5, 2]]), 3, 3).any()
    assert not paint(pack_polygons([[1, 1, 2, 1, 1.2, 1]]), 3, 3).any()


def test_polygons_scale() -> None:
    mask = paint(pack_polygons([[0.25, 0.5, 0.75, 0.5, 0.75, 1, 0.25, 1]]), 4, 8, (8, 4))
    assert _rows(mask) == ["........", "........", "..####..", "..####.."]


def test_run_lengths_go_down_the_columns() -> None:
    packed = pack_segmentation({"size": [3, 4], "counts": [1, 2, 3, 4, 2]})
    assert _rows(paint(packed, 3, 4)) == ["..##", "#.#.", "#.#."]
    with pytest.raises(ValueError, match="run lengths for 4x3, but the picture is 3x4"):
        paint(packed, 4, 3)
    with pytest.raises(ValueError, match="run lengths of 5 pixels for 4"):
        paint_runs(np.array([2, 3]), 2, 2)


def test_compressed_run_lengths() -> None:
    """1 = "1", 4 = "4"; the fourth 1 is 0 more than two before, 3 is one less than 4: "O" …"""
    assert read_letters(b"1140O11") == [1, 1, 4, 1, 3, 2, 4]
    packed = pack_segmentation({"size": [4, 4], "counts": "1140O11"})
    assert _rows(paint(packed, 4, 4)) == ["....", "#...", ".##.", "..#."]
    assert read_letters(b"mb0]1?0ki2") == [605, 45, 15, 45, 2890]


@pytest.mark.parametrize("letters", [b"5P", b"5 ", b"5\xff"])
def test_broken_run_lengths_are_refused(letters: bytes) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        read_letters(letters)


@pytest.mark.parametrize(
    "polygons", [[[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], [[0, 0, 1, 0, 1, float("nan")]]]
)
def test_broken_polygons_are_refused(polygons: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="a polygon"):
        pack_polygons(polygons)
