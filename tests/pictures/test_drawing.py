"""What stands on the sheets: letters that are there, labels in their places, curves with gaps."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cvtrainer.pictures.drawing import Cell, Lettering, panel, sheet
from cvtrainer.pictures.drawing.colours import colour_of
from cvtrainer.pictures.drawing.lettering import covers
from cvtrainer.pictures.drawing.panel import label_text

SIDE = 120
PLAIN = Lettering(("a", "b", "c"), folders=())


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def has_colour(image: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    return (np.abs(pixels(image) - np.array(colour)).max(axis=2) < 12).nonzero()


def test_names_without_letters_become_numbers() -> None:
    """No empty boxes: a name that the font lacks is its number, explained in the legend."""
    lettering = Lettering(("cat", "猫", "Straße"), folders=())
    assert lettering.name(0) == "cat"
    assert lettering.name(1) == "#1"
    assert lettering.legend["#1"] == "猫"
    assert lettering.name(9) == "?9"
    assert lettering.text("café 猫") == "cafe ?"


def test_a_font_of_the_system_is_taken_where_it_has_the_letters() -> None:
    """Where this machine has a font with Cyrillic letters, names are drawn with them."""
    lettering = Lettering(("кот", "пёс"))
    if lettering.legend:
        pytest.skip("no font with these letters here")
    assert covers(lettering.font, "котпёс")
    assert lettering.name(1) == "пёс"
    assert not covers(lettering.font, "𓀀")


def test_lines_fit() -> None:
    """Words stay whole where they fit; long ones are cut."""
    lines = PLAIN.lines("one two three " + "x" * 80, 60)
    assert all(PLAIN.width(line) <= 60 for line in lines)
    assert "".join(lines).count("x") == 80
    assert lines[0].startswith("one")


def test_boxes_stand_where_they_are() -> None:
    """A frame in the class's colour at the scaled place, in a picture set into a square."""
    sample = {
        "x": np.zeros((30, 60, 3), np.uint8),
        "target": {"boxes": np.array([[10, 5, 40, 25]]), "box_labels": np.array([1])},
    }
    rows, columns = has_colour(panel(sample, PLAIN, SIDE), colour_of(1))
    assert (columns.min(), columns.max()) == (20, 80)
    assert rows.max() == 30 + 50  # the picture begins 30 below the top, and is twice as large
    assert label_text(sample, PLAIN) == "1 boxes"


def test_the_best_of_several_boxes_is_on_top() -> None:
    """Boxes come with the best first; one behind it must not hide its frame and its words."""
    places = np.array([[10, 15, 40, 25], [10, 15, 40, 25]])
    sample = {
        "x": np.zeros((30, 60, 3), np.uint8),
        "target": {"boxes": places, "box_labels": np.array([1, 0])},
    }
    shown = panel(sample, PLAIN, SIDE)
    assert has_colour(shown, colour_of(1))[0].size
    assert not has_colour(shown, colour_of(0))[0].size


def test_masks_lie_on_their_pixels() -> None:
    """Classes tint their pixels; ignored ones are grey."""
    mask = np.zeros((40, 40), np.uint8)
    mask[:20], mask[30:] = 1, 255
    image = panel({"x": np.zeros((40, 40, 3), np.uint8), "target": {"mask": mask}}, PLAIN, SIDE)
    tint = pixels(image)
    wanted = np.rint(np.array(colour_of(1)) * 0.45)
    assert np.abs(tint[20, 60] - wanted).max() <= 1
    assert np.ptp(tint[110, 60]) == 0
    stack = np.stack([mask == 1, mask == 255]).astype(np.uint8)
    objects = panel({"x": np.zeros((40, 40, 3), np.uint8), "target": {"masks": stack}}, PLAIN, SIDE)
    assert np.abs(pixels(objects)[20, 60] - np.rint(np.array(colour_of(0)) * 0.45)).max() <= 1


def test_keypoints_that_are_not_there_are_not_drawn() -> None:
    """Visibility 0 draws nothing."""
    ground = {"x": np.zeros((40, 40, 3), np.uint8)}
    points = np.array([[20.0, 20, 2], [5, 5, 0]])
    image = panel({**ground, "target": {"keypoints": points}}, PLAIN, SIDE)
    assert len(has_colour(image, colour_of(0))[0]) > 10
    assert len(has_colour(image, colour_of(1))[0]) == 0


def test_series_leave_gaps_where_values_are_missing() -> None:
    """A line with NaN in it is drawn in two pieces."""
    values = np.linspace(0, 1, 100, dtype=np.float32)[:, None].copy()
    values[40:60] = np.nan
    _, columns = has_colour(panel({"x": values}, PLAIN, SIDE), colour_of(0))
    assert not ((columns > 52) & (columns < 66)).any()
    assert {10, 100} <= set(columns.tolist())


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((0, 2), np.float32),
        np.full((5, 2), np.nan, np.float32),
        np.array([3.0, np.inf, -1.0], np.float32),
        np.zeros(0, np.float32),
        np.zeros((8, 8), np.uint8),
        np.random.default_rng(0).normal(size=(8, 8, 3)),
        np.zeros((8, 8, 4), np.uint8),
        "",
        "\n\n",
        None,
        7,
    ],
)
def test_odd_inputs_give_a_panel(x: object) -> None:
    """Nothing that a sample may hold stops a sheet."""
    assert panel({"x": x, "target": {}}, PLAIN, SIDE).size == (SIDE, SIDE)


def test_a_sheet_holds_all_cells_and_a_legend() -> None:
    """Rows are filled from the left; long names are cut in the middle."""
    one = Image.new("RGB", (SIDE, SIDE), (200, 10, 10))
    cells = [Cell((one, one), "label", f"{k} " + "n" * 90) for k in range(8)]
    paper = sheet(cells, PLAIN, title="eight", legend=[0, 2])
    red = has_colour(paper, (200, 10, 10))
    assert len(red[0]) == 16 * SIDE * SIDE
    assert len(has_colour(paper, colour_of(2))[0]) > 50
    assert paper.width <= 1600
