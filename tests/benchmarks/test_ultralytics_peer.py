"""What the peer's script does itself: the set as the command wants it, and counting its answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers import real_ultralytics as peer

XML = """<annotation><size><width>64</width><height>48</height></size>
<object><name>RBC</name>
<bndbox><xmin>8</xmin><ymin>6</ymin><xmax>24</xmax><ymax>30</ymax></bndbox></object>
<object><name>WBC</name>
<bndbox><xmin>30</xmin><ymin>10</ymin><xmax>62</xmax><ymax>46</ymax></bndbox></object>
<object><name>RBC</name>
<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object>
</annotation>
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of three pictures, one in each part; its own lists."""
    (tmp_path / "data" / "Annotations").mkdir(parents=True)
    for number, part in enumerate(("train", "val", "test")):
        (tmp_path / f"bccd_{part}.txt").write_text(f"p{number}\n")
        (tmp_path / "data" / "Annotations" / f"p{number}.xml").write_text(XML)
    monkeypatch.setattr(peer, "SPLITS", tmp_path)
    return tmp_path / "data"


def test_boxes_become_shares_and_boxes_without_an_area_go(data: Path, tmp_path: Path) -> None:
    peer.write_set("bccd", data, tmp_path / "out")
    lines = (tmp_path / "out" / "labels" / "val" / "p1.txt").read_text().splitlines()
    rows = [[float(word) for word in line.split()] for line in lines]
    assert rows == [[1, 0.25, 0.375, 0.25, 0.5], [2, 0.71875, 28 / 48, 0.5, 0.75]]
    assert (tmp_path / "out" / "images" / "test" / "p2.jpg").is_symlink()
    assert "1: RBC" in (tmp_path / "out" / "set.yaml").read_text()


def test_answers_are_counted_by_our_meter(data: Path) -> None:
    right = [
        {"image_id": "p2", "category_id": 2, "bbox": [8, 6, 16, 24], "score": 0.9},
        {"image_id": "p2", "category_id": 3, "bbox": [30, 10, 32, 36], "score": 0.8},
    ]
    assert peer.scores("bccd", data, right)["map"] == pytest.approx(1.0)
    assert peer.scores("bccd", data, right[:1])["map_50"] == pytest.approx(0.5)
    assert peer.scores("bccd", data, [])["map_50"] == 0.0
