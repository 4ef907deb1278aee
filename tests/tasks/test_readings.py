"""Readings: tensors that mean something, and the same as plain values."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.tasks import (
    Classification,
    Detection,
    Keypoints,
    MultiLabelClassification,
    Regression,
    Segmentation,
    Several,
)


def told(reading: Any, outputs: Any, place: int = 0, classes: Any = None) -> Any:
    """Plain values only."""
    found = reading.describe({**outputs, **reading.decode(outputs)}, place, classes)
    return json.loads(json.dumps(found))


def test_one_class_each() -> None:
    outputs = {"output": torch.tensor([[0.0, 2.0, 1.0], [5.0, 0.0, 0.0]])}
    found = Classification().decode(outputs)
    torch.testing.assert_close(found["probabilities"].sum(dim=1), torch.ones(2))
    assert found["class_id"].tolist() == [1, 0]
    first = told(Classification(top=2), outputs, classes=["cat", "dog", "owl"])
    assert (first["class"], first["class_id"]) == ("dog", 1)
    assert [one["class"] for one in first["top"]] == ["dog", "owl"]
    assert first["probability"] == pytest.approx(0.6652, abs=1e-4)
    assert told(Classification(), outputs, 1)["class"] == "0"


def test_any_number_of_classes() -> None:
    outputs = {"output": torch.tensor([[3.0, -3.0, 0.5], [-1.0, -1.0, -1.0]])}
    names = ["round", "red", "sweet"]
    assert [
        one["class"] for one in told(MultiLabelClassification(), outputs, 0, names)["classes"]
    ] == [
        "round",
        "sweet",
    ]
    assert told(MultiLabelClassification(), outputs, 1, names) == {"classes": []}
    strict = told(MultiLabelClassification(threshold=0.9), outputs, 0, names)
    assert len(strict["classes"]) == 1


def test_numbers_on_the_scale_of_the_targets() -> None:
    one = {"output": torch.tensor([0.5, 1.0])}
    assert told(Regression(mean=10.0, std=2.0), one) == {"value": 11.0}
    two = {"output": torch.tensor([[1.0, 2.0]])}
    assert told(Regression(), two) == {"values": [1.0, 2.0]}
    named = Regression(names=["x", "y"], std=[1.0, 10.0])
    assert told(named, two) == {"x": 1.0, "y": 20.0}
    with pytest.raises(UserError, match="names has 1 entries, the output 2"):
        Regression(names=["x"]).decode(two)


def test_a_class_for_each_place() -> None:
    scores = torch.zeros(1, 3, 2, 4)
    scores[0, 2, :, 3] = 1.0
    scores[0, 1, 0, 0] = 1.0
    outputs = {"output": scores}
    assert Segmentation().decode(outputs)["class_map"].tolist() == [[[1, 0, 0, 2], [0, 0, 0, 2]]]
    shares = told(Segmentation(), outputs, classes=["none", "edge", "pet"])["shares"]
    assert shares == {"none": 0.625, "edge": 0.125, "pet": 0.25}
    single = {"output": torch.tensor([[[[2.0, -2.0]]]])}
    assert Segmentation().decode(single)["class_map"].tolist() == [[[1, 0]]]
    assert Segmentation(threshold=0.9).decode(single)["class_map"].tolist() == [[[0, 0]]]


def test_places_between_two_are_found() -> None:
    """A Gaussian around (13.3, 22.1) on maps of a quarter of the size."""
    rows = torch.arange(16.0).view(-1, 1) * 4 + 2
    columns = torch.arange(12.0).view(1, -1) * 4 + 2
    hill = torch.exp(-((columns - 13.3) ** 2 + (rows - 22.1) ** 2) / (2 * 6.0**2))
    maps = torch.stack((hill, hill.flip(1)))[None]
    found = Keypoints().decode({"output": maps})["keypoints"][0]
    assert found[0, :2].tolist() == pytest.approx([13.3, 22.1], abs=1.1)
    assert found[1, :2].tolist() == pytest.approx([48 - 13.3, 22.1], abs=1.1)
    plain = told(Keypoints(names=["nose", "tail"]), {"output": maps})["keypoints"]
    assert list(plain) == ["nose", "tail"]
    assert plain["nose"]["score"] == pytest.approx(float(hill.max()))


def test_a_spot_at_the_border_of_its_map_stays_there() -> None:
    """Beyond it nothing is known, so no direction is; along the border there is one."""
    maps = torch.zeros(1, 3, 4, 5)
    maps[0, 0, 0, 0] = maps[0, 1, 3, 4] = maps[0, 2, 0, 2] = 1.0
    maps[0, 2, 0, 3] = 0.5
    found = Keypoints(stride=4).decode({"output": maps})["keypoints"][0, :, :2]
    assert found.tolist() == [[2.0, 2.0], [18.0, 14.0], [11.0, 2.0]]


def test_an_output_that_a_reading_names_is_that_one() -> None:
    """Though another begins with the reading's name."""
    outputs = {"label": torch.tensor([[9.0, 0.0]]), "coarse_label": torch.tensor([[0.0, 9.0]])}
    several = Several({"coarse": Classification(output="label")})
    assert several.decode(outputs)["coarse_class_id"].tolist() == [0]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Classification(output="logits").decode({"output": torch.ones(1, 2)}), "'logits'"),
        (lambda: Classification(top=0), "top is 0"),
        (lambda: MultiLabelClassification(threshold=1.0), "threshold is 1.0"),
        (lambda: Segmentation().decode({"output": torch.ones(1, 2)}), r"shape \[1, 2\]"),
        (lambda: Keypoints().decode({"output": torch.ones(1, 2)}), r"shape \[1, 2\]"),
        (lambda: Keypoints(stride=0), "stride is 0"),
        (
            lambda: Keypoints(names=["tip"]).decode({"output": torch.ones(1, 2, 4, 4)}),
            "names has 1 entries, the output 2 maps",
        ),
    ],
)
def test_what_cannot_be_read_is_told(make: Any, text: str) -> None:
    with pytest.raises(UserError, match=text):
        make()


@pytest.mark.parametrize(
    ("reading", "shape"),
    [
        (Classification(), (2, 3)),
        (MultiLabelClassification(), (2, 3)),
        (Regression(), (2, 3)),
        (Segmentation(), (2, 3, 8, 8)),
        (Keypoints(), (2, 3, 8, 8)),
    ],
)
def test_readings_can_be_exported(reading: Any, shape: tuple[int, ...]) -> None:
    class Read(torch.nn.Module):
        def forward(self, output: torch.Tensor) -> dict[str, torch.Tensor]:
            return reading.decode({"output": output})

    value = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    exported = torch.export.export(Read(), (value,)).module()
    for name, expected in Read()(value).items():
        torch.testing.assert_close(exported(value)[name], expected)


def test_a_class_for_each_place_of_a_series() -> None:
    outputs = {"output": torch.tensor([[[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]]])}
    assert Classification().decode(outputs)["class_id"].tolist() == [[1, 0]]
    found = told(Classification(top=1), outputs, classes=["calm", "glad", "sad"])
    assert [one["class"] for one in found["places"]] == ["glad", "calm"]


def test_several_readings_keep_to_their_names() -> None:
    task = Several(
        {"kind": Classification(top=1), "count": Regression()}, classes={"kind": ["cat", "dog"]}
    )
    outputs = {"kind": torch.tensor([[0.0, 1.0]]), "count": torch.tensor([3.0])}
    made = task.decode(outputs)
    assert set(made) == {"kind_probabilities", "kind_class_id", "count_values"}
    found = told(task, outputs, classes=["apple", "pear"])
    assert found["kind"]["class"] == "dog"
    assert found["count"] == {"value": 3.0}
    with pytest.raises(UserError, match="classes names 'colour'"):
        Several({"kind": Classification()}, classes={"colour": ["red"]})
    with pytest.raises(UserError, match="readings is empty"):
        Several({})
    with pytest.raises(UserError, match="the reading kind is 'classification'"):
        Several({"kind": "classification"})  # type: ignore[dict-item]


def test_a_reading_has_what_its_head_gives_by_names_of_its_own() -> None:
    draw = torch.Generator().manual_seed(0)
    head = {
        "scores": torch.randn(1, 6, 2, generator=draw),
        "distances": torch.randn(1, 6, 16, generator=draw),
        "anchors": torch.tensor([[4.0, 4.0, 8.0]]).repeat(6, 1),
    }
    alone = Detection(most=3, candidates=6)
    task = Several({"things": alone, "kind": Classification()})
    outputs = {f"things_{name}": value for name, value in head.items()}
    made = task.decode({**outputs, "kind": torch.zeros(1, 2)})
    for name, value in alone.decode(head).items():
        assert torch.equal(made[f"things_{name}"], value)
    with pytest.raises(UserError, match=r"There is other_scores\. .*head's name"):
        Several({"things": alone}).decode({"other_scores": head["scores"]})
