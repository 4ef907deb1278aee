"""Mixed samples: pixels, labels and everything that is marked in a picture agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.data.mixing import CutMix, MixUp, MixUpOrCutMix, Mosaic
from cvtrainer.data.randomness import generator

TENSORS = [MixUp(num_classes=3), CutMix(num_classes=3), MixUpOrCutMix(num_classes=3)]


def plain(value: float, label: int, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """A picture of one value."""
    picture = torch.full((3, 8, 10), value, dtype=dtype)
    return {"x": picture, "target": {"class_id": torch.tensor(label)}, "meta": {"index": label}}


def mixed(mixer: Any, samples: list[dict[str, Any]], own: int = 0, seed: int = 1) -> Any:
    """What a pipeline does: partners, then mix with the same generator."""
    rng = generator(seed)
    places = mixer.partners(rng, own, len(samples))
    return mixer.mix(samples[own], [samples[place] for place in places], rng)


@pytest.mark.parametrize("mixer", TENSORS, ids=lambda mixer: type(mixer).__name__)
def test_labels_say_how_much_is_seen_of_each(mixer: Any) -> None:
    samples = [plain(0, 0), plain(1, 2)]
    shares = set()
    for seed in range(30):
        out = mixed(mixer, samples, seed=seed)
        seen = float(out["x"].mean())
        torch.testing.assert_close(
            out["target"]["class_id"], torch.tensor([1 - seen, 0, seen]), atol=1e-5, rtol=0
        )
        assert out["meta"] == {"index": 0}
        shares.add(round(seen, 6))
    assert len(shares) > 15
    assert float(samples[0]["x"].sum()) == 0
    again = mixed(mixer, samples, seed=29)
    assert torch.equal(again["x"], out["x"])


@pytest.mark.parametrize("mixer", TENSORS, ids=lambda mixer: type(mixer).__name__)
def test_partners_are_other_places_of_the_batch(mixer: Any) -> None:
    seen = [mixer.partners(generator(seed), 2, 5) for seed in range(200)]
    assert {place for (place,) in seen} == {0, 1, 3, 4}
    assert mixer.partners(generator(1), 0, 1) == (0,)


@pytest.mark.parametrize("kind", [MixUp, CutMix, MixUpOrCutMix])
def test_a_sample_that_is_not_mixed_has_the_same_form(kind: Any) -> None:
    never, always = kind(p=0.0, num_classes=3), kind(num_classes=3)
    samples = [plain(7, 1, torch.uint8), plain(200, 2, torch.uint8)]
    out = mixed(never, samples)
    assert out["target"]["class_id"].tolist() == [0, 1, 0]
    assert float(out["x"].float().mean()) == 7
    other = mixed(always, samples)
    assert other["x"].dtype == out["x"].dtype
    assert other["target"]["class_id"].dtype == out["target"]["class_id"].dtype
    assert 7 <= float(other["x"].float().mean()) <= 200


def test_vectors_are_shared_as_they_are() -> None:
    samples = [
        {"x": torch.zeros(1, 4, 4), "y": torch.tensor([1.0, 1.0, 0.0])},
        {"x": torch.ones(1, 4, 4), "y": torch.tensor([0.0, 1.0, 0.0])},
    ]
    out = mixed(MixUp(), samples)
    share = 1 - float(out["x"].mean())
    torch.testing.assert_close(out["y"], torch.tensor([share, 1.0, 0.0]))


def test_cutmix_cuts_masks_with_the_picture() -> None:
    samples = [{**plain(k, k), "mask": torch.full((8, 10), k)} for k in (0, 1)]
    for seed in range(10):
        out = mixed(CutMix(num_classes=2), samples, seed=seed)
        assert torch.equal(out["x"][0].long(), out["mask"])
    with pytest.raises(UserError, match="MixUp cannot average masks"):
        mixed(MixUp(num_classes=2), samples)


@pytest.mark.parametrize(
    ("mixer", "change", "words"),
    [
        (MixUp(), {}, "needs num_classes"),
        (MixUp(num_classes=2), {}, r"class_id 2 is outside 0\.\.1"),
        (CutMix(num_classes=3), {"boxes": torch.zeros(1, 4)}, "cannot share field boxes"),
        (CutMix(num_classes=3), {"y": torch.zeros(7).long()}, r"field y of shape \(7,\)"),
        (MixUp(num_classes=3), {"x": torch.zeros(3, 9, 9)}, "9x9 with one of 8x10"),
        (MixUp(num_classes=3), {"x": np.zeros((3, 9, 9))}, "needs a picture"),
    ],
)
def test_what_cannot_be_mixed_is_named(mixer: Any, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        mixed(mixer, [{**plain(0, 2), **change}, plain(1, 1)])
    with pytest.raises(UserError, match="alpha is 0"):
        MixUp(alpha=0)


def marked(number: int, height: int = 60, width: int = 80) -> dict[str, Any]:
    """A picture of one grey with a bright block, and all kinds of marks on it."""
    image = np.full((height, width, 3), 10 + number, dtype=np.uint8)
    image[20:32, 30:50] = 200 + number
    mask = (image[:, :, 0] >= 200).astype(np.uint8) * (number + 1)
    return {
        "x": image,
        "target": {
            "boxes": np.array([[30, 20, 50, 32]], dtype=np.float32),
            "box_labels": np.array([number]),
            "box_names": [f"name{number}"],
            "mask": mask,
            "masks": (mask > 0).astype(np.uint8)[None],
            "keypoints": np.array([[40, 26, 2]], dtype=np.float32),
        },
        "meta": {"index": number, "path": f"{number}.png"},
    }


def test_a_mosaic_keeps_every_mark_on_its_block() -> None:
    samples = [marked(0), marked(1, 90, 60), marked(2, 50, 120), marked(3)]
    mosaic = Mosaic(height=128, width=160, min_side=3)
    blocks = 0
    for seed in range(20):
        out = mixed(mosaic, samples, seed=seed)
        target = out["target"]
        assert out["x"].shape == (128, 160, 3)
        assert target["mask"].shape == (128, 160)
        count = len(target["boxes"])
        assert len(target["box_labels"]) == len(target["box_names"]) == count
        assert target["masks"].shape == (count, 128, 160)
        assert len(target["keypoints"]) == 4
        assert out["meta"]["index"] == 0
        for box, label, name, plane in zip(
            target["boxes"], target["box_labels"], target["box_names"], target["masks"], strict=True
        ):
            assert name == f"name{label}"
            x1, y1, x2, y2 = box
            assert min(x2 - x1, y2 - y1) >= 3
            ys, xs = np.nonzero(plane)
            assert (x1, x2) == pytest.approx((xs.min(), xs.max() + 1), abs=1.2)
            assert (y1, y2) == pytest.approx((ys.min(), ys.max() + 1), abs=1.2)
            inside = out["x"][int((y1 + y2) / 2), int((x1 + x2) / 2), 0]
            assert inside == 200 + label
            assert (target["mask"][plane > 0] == label + 1).all()
            blocks += 1
        for x, y, visible in target["keypoints"]:
            if visible and 2 < x < 158 and 2 < y < 126:
                around = out["x"][int(y) - 2 : int(y) + 2, int(x) - 2 : int(x) + 2, 0]
                assert around.max() >= 200
    assert blocks > 40


def test_a_mosaic_of_one_picture_and_of_none() -> None:
    assert mixed(Mosaic(size=64), [marked(0)])["x"].shape == (64, 64, 3)
    sample = marked(0)
    assert mixed(Mosaic(size=64, p=0), [sample, marked(1)]) is sample
    places = [Mosaic(size=64).partners(generator(s), 1, 3) for s in range(50)]
    assert {place for three in places for place in three} == {0, 2}


def test_a_mosaic_of_samples_without_boxes() -> None:
    samples = [marked(k) for k in range(4)]
    for sample in samples:
        sample["target"] = {"boxes": np.zeros((0, 4)), "box_labels": np.zeros(0, np.int64)}
    out = mixed(Mosaic(size=64), samples)["target"]
    assert out["boxes"].shape == (0, 4)
    assert out["box_labels"].shape == (0,)


def test_what_a_mosaic_cannot_join_is_named() -> None:
    labelled = [{"x": marked(0)["x"], "target": {"class_id": 3}} for _ in range(2)]
    with pytest.raises(UserError, match="cannot join field class_id"):
        mixed(Mosaic(size=64), labelled)
    grey = marked(1)
    grey["x"] = grey["x"][:, :, :1]
    with pytest.raises(UserError, match="other channels"):
        mixed(Mosaic(size=64), [marked(0), grey])
    with pytest.raises(UserError, match="needs height and width"):
        Mosaic()
