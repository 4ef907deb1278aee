"""A collection of odd and broken files: each decodes to what its table says, or is a bad sample."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvtrainer.data.decode import Decoding, Pixels, decode_image, image_size, read_size
from cvtrainer.data.sample import BadSample

HONEST = {
    "truncated_end_chunk.png": "truncated",
    "broken_data_stream.png": "unreadable",
}
"""Pillow gives these only when it is asked a second time, after its error."""


def upright_size(row: dict[str, str]) -> tuple[int, int]:
    """Height and width after EXIF; of TIFF files the table gives them turned already."""
    size = int(row["height"]), int(row["width"])
    turned = row["exif_orientation"] in ("5", "6", "7", "8") and row["format"] != "TIFF"
    return size[::-1] if turned else size


def outcome(path: Path) -> tuple[BadSample | None, Pixels]:
    """What is wrong with the file, or its pixels."""
    try:
        return None, decode_image(path.read_bytes(), path.name)
    except BadSample as error:
        return error, np.empty((0, 0, 3), np.uint8)


@pytest.mark.filterwarnings("ignore")
def test_the_whole_collection(data_sets: Path) -> None:
    folder, seen = data_sets / "odd-images", dict[str, int]()
    with open(folder / "index.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    for row in rows:
        path = folder / row["file"]
        bad, pixels = outcome(path)
        if bad is not None:
            assert row["pillow13_load"] != "ok" or HONEST[path.name] == bad.kind, bad
            if "bomb" in path.name or path.name == "png_decompression_dos.png":
                assert bad.kind == "bomb", bad
            if "is truncated" in row["pillow13_load"]:
                assert bad.kind == "truncated", bad
            seen[bad.kind] = seen.get(bad.kind, 0) + 1
            continue
        assert row["pillow13_load"] == "ok" or path.name == "hopper.psd"
        assert pixels.dtype == np.uint8
        assert pixels.shape == (*upright_size(row), 3)
        assert image_size(path.read_bytes(), path.name) == pixels.shape[:2]
        assert read_size(path) == pixels.shape[:2]
        seen["decoded"] = seen.get("decoded", 0) + 1
    assert len(rows) == 186
    assert seen["decoded"] >= 160


def test_photos_that_stand_in_eight_ways_are_one_photo(data_sets: Path) -> None:
    folder = data_sets / "odd-images" / "exif-orientation-examples"
    for kind in ("Landscape", "Portrait"):
        small = []
        for k in range(9):
            data = (folder / f"{kind}_{k}.jpg").read_bytes()
            pixels = decode_image(data, kind, Decoding(scaled=True), at_least=(200, 200))
            small.append(np.asarray(Image.fromarray(pixels).convert("L").resize((32, 32)), float))
        for other in small[1:]:
            assert np.corrcoef(small[0].ravel(), other.ravel())[0, 1] > 0.9
