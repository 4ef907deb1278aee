"""The third back end: transforms on `results` dictionaries, with values computed by hand."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors, UserError
from cvtrainer.data.randomness import DrawKey, generator
from cvtrainer.data.sample import BadSample
from cvtrainer.data.transforms import Transforms
from cvtrainer.data.transforms.results import (
    RandomColorJitter,
    RandomFlip,
    Resize,
    ResultsTransforms,
)
from cvtrainer.data.transforms.results.functional import to_tensor

DOCUMENTED: list[Any] = [
    {"name": "RandomFlip", "direction": ["horizontal", "vertical", "diagonal"], "p": 0.5},
    {
        "name": "Resize",
        "target_size": 256,
        "interpolation": "INTER_LINEAR",
        "keep_ratio": False,
        "clip_border": True,
    },
    {
        "name": "RandomColorJitter",
        "brightness_limit": [0.6, 1.2],
        "brightness_p": 0.6,
        "contrast_limit": [0.6, 1.4],
        "contrast_p": 0.6,
        "saturation_limit": [0.6, 1.4],
        "saturation_p": 0.5,
        "hue_limit": [-0.1, 0.1],
        "hue_p": 0.05,
        "blur_limit": [3, 7],
        "blur_p": 0.2,
        "gamma_limit": [0.3, 3.0],
        "gamma_p": 0.1,
    },
]
FLIPS = {"horizontal": np.s_[:, ::-1], "vertical": np.s_[::-1], "diagonal": np.s_[::-1, ::-1]}


def noise(height: int = 30, width: int = 40, channels: int = 3) -> np.ndarray:
    """Every pixel different."""
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def results(image: np.ndarray | None = None, **more: Any) -> dict[str, Any]:
    """What a data set writes."""
    image = noise() if image is None else image
    shape = image.shape[:2]
    fields = {"img_fields": ["img"], "color_fields": ["img"]}
    return {"img": image, "img_shape": shape, "ori_shape": shape, **fields, **more}


def jittered(image: np.ndarray, seed: int = 1, **words: Any) -> np.ndarray:
    """That picture after a colour jitter."""
    out = RandomColorJitter(**words)(results(image), generator(seed))["img"]
    assert isinstance(out, np.ndarray)
    return out


@pytest.mark.seed("S2-54", "S2-66")
def test_the_documented_list() -> None:
    transforms = ResultsTransforms(DOCUMENTED)
    outs = []
    for position in range(6):
        out = transforms(results(noise(300, 200)), DrawKey(1, 1, position))
        assert out["img"].shape == (256, 256, 3)
        assert out["img"].dtype == np.uint8
        assert out["img_shape"] == (256, 256)
        assert out["ori_shape"] == (300, 200)
        again = ResultsTransforms(DOCUMENTED)(results(noise(300, 200)), DrawKey(1, 1, position))
        np.testing.assert_array_equal(out["img"], again["img"])
        outs.append(out["img"].tobytes())
    assert len(set(outs)) == 6
    assert transforms.thread_safe
    jitter = RandomColorJitter(**{k: v for k, v in DOCUMENTED[2].items() if k != "name"})
    steps = [step.name for step in jitter.steps]
    assert steps == ["brightness", "contrast", "saturation", "hue", "blur", "gamma"]


@pytest.mark.seed("S2-54")
def test_order_is_the_order_of_the_list() -> None:
    one, other = {"name": "Resize", "target_size": 20}, {"name": "Resize", "target_size": [8, 10]}
    assert ResultsTransforms([one, other])(results())["img"].shape == (8, 10, 3)
    assert ResultsTransforms([other, one])(results())["img"].shape == (20, 20, 3)
    assert ResultsTransforms([])(results())["img"].shape == (30, 40, 3)


@pytest.mark.seed("S2-55")
@pytest.mark.parametrize("direction", FLIPS)
def test_flip_is_exact(direction: str) -> None:
    before = results()
    out = RandomFlip(direction=[direction], p=1)(before, generator(1))
    np.testing.assert_array_equal(out["img"], noise()[FLIPS[direction]])
    np.testing.assert_array_equal(before["img"], noise())
    still = RandomFlip(direction=direction, p=0)(results(), generator(1))
    np.testing.assert_array_equal(still["img"], noise())


@pytest.mark.seed("S2-55")
def test_flip_picks_one_of_its_directions() -> None:
    flip = RandomFlip(direction=list(FLIPS), p=0.5)
    wanted = {name: noise()[at].tobytes() for name, at in FLIPS.items()}
    wanted["none"] = noise().tobytes()
    outs = [flip(results(), generator(seed))["img"].tobytes() for seed in range(300)]
    counts = {name: outs.count(pixels) for name, pixels in wanted.items()}
    assert sum(counts.values()) == 300
    assert 120 < counts["none"] < 180
    assert min(counts.values()) > 25


@pytest.mark.seed("S2-41", "S2-55")
def test_flip_moves_points_and_boxes() -> None:
    given = {
        "points": np.array([[3.0, 4.0, 7.0]]),
        "boxes": np.array([[2.0, 3.0, 10.0, 9.0]]),
        "pts_fields": ["points"],
        "bbox_fields": ["boxes"],
    }
    wanted = {
        "horizontal": ([37, 4, 7], [30, 3, 38, 9]),
        "vertical": ([3, 26, 7], [2, 21, 10, 27]),
        "diagonal": ([37, 26, 7], [30, 21, 38, 27]),
    }
    for direction, (point, box) in wanted.items():
        out = RandomFlip(direction, p=1)(results(**given), generator(1))
        assert out["points"].tolist() == [point]
        assert out["boxes"].tolist() == [box]
    assert given["points"][0, 0] == 3


@pytest.mark.seed("S2-56", "S2-40")
def test_resize_stretches_or_keeps_the_ratio() -> None:
    out = Resize(256)(results(noise(30, 60)))
    assert out["img"].shape == (256, 256, 3)
    assert out["scale"] == (256 / 60, 256 / 30)
    assert out["pad_offset"] == (0, 0)
    white = np.full((30, 60, 3), 255, np.uint8)
    out = Resize(64, keep_ratio=True)(results(white, pad_value=7))
    assert out["img"].shape == (64, 64, 3)
    assert out["img_shape"] == (64, 64)
    assert (out["img"][16:48] == 255).all()
    assert (out["img"][:16] == 7).all()
    assert (out["img"][48:] == 7).all()
    assert out["pad_offset"] == (0, 16)
    assert out["scale"] == (64 / 60, 32 / 30)
    coloured = Resize([10, 50], keep_ratio=True)(results(white, pad_value=[1, 2, 3]))
    assert coloured["img"].shape == (10, 50, 3)
    assert coloured["img"][0, 0].tolist() == [1, 2, 3]
    assert Resize(9)(results(noise()[:, :, :1]))["img"].shape == (9, 9, 1)
    assert Resize(9)(results(noise()[:, :, 0]))["img"].shape == (9, 9)


@pytest.mark.seed("S2-41", "S2-58")
def test_resize_moves_points_and_boxes_and_clips_them_on_request() -> None:
    given = {
        "points": np.array([[30.0, 15.0], [70.0, -3.0]]),
        "boxes": np.array([[-6.0, 3.0, 30.0, 45.0]]),
        "pts_fields": ["points"],
        "bbox_fields": ["boxes"],
    }
    image = noise(30, 60)
    kept = Resize([60, 30], clip_border=False)(results(image, **given))
    assert kept["points"].tolist() == [[15, 30], [35, -6]]
    assert kept["boxes"].tolist() == [[-3, 6, 15, 90]]
    cut = Resize([60, 30], clip_border=True)(results(image, **given))
    assert cut["points"].tolist() == [[15, 30], [30, 0]]
    assert cut["boxes"].tolist() == [[0, 6, 15, 60]]
    padded = Resize(120, keep_ratio=True, clip_border=False)(results(image, **given))
    assert padded["points"].tolist() == [[60, 60], [140, 24]]


@pytest.mark.seed("S2-57")
def test_interpolation_names() -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 7:30] = 200
    kinds = ["INTER_LINEAR", "INTER_CUBIC", "INTER_AREA", "INTER_LANCZOS4"]
    for kind in kinds:
        wanted = cv2.resize(noise(), (17, 23), interpolation=getattr(cv2, kind))
        out = Resize([23, 17], interpolation=kind)(results())
        np.testing.assert_array_equal(out["img"], wanted)
    nearest = Resize([23, 17], interpolation="INTER_NEAREST")(results(mask))
    assert set(np.unique(nearest["img"])) == {0, 200}
    fields = {"img_fields": ["img", "mask"], "mask": mask, "pad_value": {"mask": 9}}
    both = Resize(50, keep_ratio=True)(
        {**results(), **fields, "interpolation": {"mask": "INTER_NEAREST"}}
    )
    assert set(np.unique(both["mask"])) == {0, 9, 200}
    assert both["img"][0, 0].tolist() == [0, 0, 0]
    with pytest.raises(UserError, match="no interpolation 'INTER_SOFT'"):
        Resize(9, interpolation="INTER_SOFT")
    with pytest.raises(UserError, match="no interpolation 'soft'"):
        Resize(9)({**results(), "interpolation": "soft"})


@pytest.mark.seed("S2-59")
def test_jitter_is_reproducible_keeps_form_and_shuffles_its_steps() -> None:
    words: dict[str, Any] = {f"{n}_p": 1.0 for n in ("brightness", "contrast", "saturation")}
    words.update(hue_p=1, blur_p=1, gamma_p=1, clahe_p=1)
    for image in (noise(), noise(channels=1), noise()[:, :, 0], noise() / np.float32(255)):
        first = jittered(image, **words)
        assert first.shape == image.shape
        assert first.dtype == image.dtype
        np.testing.assert_array_equal(first, jittered(image, **words))
        assert not np.array_equal(first, jittered(image, seed=2, **words))
    fixed: dict[str, Any] = {"brightness_limit": [3, 3], "brightness_p": 1}
    fixed.update(gamma_limit=[0.5, 0.5], gamma_p=1)
    image = np.full((4, 4, 3), 60, np.uint8)
    assert len({int(jittered(image, seed, **fixed)[0, 0, 0]) for seed in range(20)}) == 2


@pytest.mark.seed("S2-60")
def test_brightness_multiplies() -> None:
    out = jittered(noise(), brightness_limit=[1.1, 1.1], brightness_p=1)
    np.testing.assert_array_equal(out, np.clip(noise() * 1.1, 0, 255).astype(np.uint8))
    flat = np.full((2, 2, 3), 100, np.uint8)
    drawn = [jittered(flat, s, brightness_limit=[0.6, 1.2], brightness_p=0.6) for s in range(300)]
    values = np.array([out[0, 0, 0] for out in drawn])
    assert values.min() >= 60
    assert values.max() <= 120
    assert 90 < (values == 100).sum() < 160


@pytest.mark.seed("S2-61")
def test_contrast_turns_about_the_grey_mean() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[0] = 200
    out = jittered(image, contrast_limit=[0.5, 0.5], contrast_p=1)
    assert out[:, 0, 0].tolist() == [150, 50]
    flat = jittered(noise(), contrast_limit=[0, 0], contrast_p=1)
    mean = cv2.cvtColor(noise(), cv2.COLOR_RGB2GRAY).mean()
    assert np.unique(flat).tolist() == [int(mean)]


@pytest.mark.seed("S2-62")
def test_saturation_of_nothing_is_grey() -> None:
    out = jittered(noise(), saturation_limit=[0, 0], saturation_p=1)
    grey = cv2.cvtColor(noise(), cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(out, np.repeat(grey[:, :, None], 3, axis=2))
    same = jittered(noise(), saturation_limit=[1, 1], saturation_p=1)
    np.testing.assert_array_equal(same, noise())


@pytest.mark.seed("S2-63")
def test_hue_stays_within_half_a_circle_and_nothing_is_identity() -> None:
    out = jittered(noise(), hue_limit=[0, 0], hue_p=1)
    np.testing.assert_array_equal(out, noise())
    red = np.zeros((1, 1, 3), np.uint8)
    red[..., 0] = 255
    third = jittered(red, hue_limit=[1 / 3, 1 / 3], hue_p=1)
    assert third[0, 0].tolist() == [0, 255, 0]
    with pytest.raises(UserError, match=r"hue_limit is \[-0.6, 0.1\]. Stay within -0.5\.\.0.5"):
        RandomColorJitter(hue_limit=[-0.6, 0.1])


@pytest.mark.seed("S2-64")
def test_blur_takes_odd_kernels_only() -> None:
    wanted = {k: cv2.GaussianBlur(noise(), (k, k), 0).tobytes() for k in (3, 5, 7)}
    outs = [jittered(noise(), s, blur_limit=[3, 7], blur_p=1).tobytes() for s in range(60)]
    assert set(outs) == set(wanted.values())
    for even in ([3, 6], [4, 7], 4):
        with pytest.raises(UserError, match=r"blur_limit is .* Use odd kernel sizes"):
            RandomColorJitter(blur_limit=even)


@pytest.mark.seed("S2-65")
def test_gamma_of_one_is_identity() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(jittered(every, gamma_limit=[1, 1], gamma_p=1), every)
    out = jittered(every, gamma_limit=[2, 2], gamma_p=1)
    np.testing.assert_array_equal(out, np.rint((every / 255) ** 2 * 255).astype(np.uint8))


@pytest.mark.seed("S2-66")
def test_steps_that_are_not_named_stay_off() -> None:
    assert RandomColorJitter().steps == ()
    for seed in range(50):
        np.testing.assert_array_equal(jittered(noise(), seed), noise())
    (step,) = RandomColorJitter(clahe_p=0.2).steps
    assert step == ("clahe", (1.0, 4.0), 0.2)
    (step,) = RandomColorJitter(gamma_limit=[0.3, 3]).steps
    assert step == ("gamma", (0.3, 3.0), 0.5)


@pytest.mark.seed("S2-40")
def test_colour_fields_change_alike_and_others_do_not() -> None:
    given = results(img_fields=["img", "same", "other"], color_fields=["img", "same"])
    given.update(same=noise(), other=noise())
    out = RandomColorJitter(brightness_limit=[0.5, 0.9], brightness_p=1)(given, generator(1))
    np.testing.assert_array_equal(out["img"], out["same"])
    np.testing.assert_array_equal(out["other"], noise())
    assert not np.array_equal(out["img"], noise())


@pytest.mark.seed("S2-40")
@pytest.mark.parametrize("transform", [RandomFlip(p=1), Resize(8), RandomColorJitter(gamma_p=1)])
def test_a_missing_key_is_named(transform: Any) -> None:
    for key in ("img", "img_shape", "ori_shape", "img_fields", "color_fields"):
        given = results()
        del given[key]
        with pytest.raises(UserError, match=f"results has no key '{key}'. In the data set: "):
            transform(given)
    with pytest.raises(UserError, match="pts_fields names 'points', which results does not"):
        transform(results(pts_fields=["points"]))
    with pytest.raises(UserError, match="is not a picture"):
        transform(results(img_fields=["t"], color_fields=["t"], t=3))


@pytest.mark.seed("S2-39")
def test_own_callables_take_part_and_draw_repeatably() -> None:
    def shifted(given: dict[str, Any]) -> dict[str, Any]:
        return {**given, "img": given["img"] // 2 + np.random.randint(0, 9, (8, 8, 3))}

    items: list[Any] = [{"name": "Resize", "target_size": 8}, shifted]
    transforms = ResultsTransforms(items)
    assert not transforms.thread_safe
    one = transforms(results(), DrawKey(1, 1, 1))["img"]
    np.testing.assert_array_equal(one, transforms(results(), DrawKey(1, 1, 1))["img"])
    assert not np.array_equal(one, transforms(results(), DrawKey(1, 1, 2))["img"])
    random.seed(5)
    alone = transforms(results())["img"]
    assert not np.array_equal(alone, transforms(results())["img"])
    random.seed(5)
    np.testing.assert_array_equal(alone, transforms(results())["img"])
    with pytest.raises(UserError, match="lambda> gave NoneType, not a results dict"):
        ResultsTransforms([lambda given: None])(results())


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"name": "RandomFlop"}, r"no transform 'RandomFlop'. Did you mean RandomFlip\?"),
        ({"name": "Resize"}, "Resize of results needs target_size"),
        ({"name": "RandomFlip", "directions": 1}, r"takes no directions. Did you mean direction"),
        ({"name": "RandomFlip", "direction": "left"}, "no direction 'left'"),
        ({"p": 1}, "has no name"),
        (3, "neither a node nor a callable"),
    ],
)
def test_wrong_items_are_named(item: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        ResultsTransforms([item])


@pytest.mark.seed("S2-42")
def test_to_tensor() -> None:
    image = noise()
    tensor = to_tensor(image)
    assert tensor.shape == (3, 30, 40)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert float(tensor[2, 5, 7]) == pytest.approx(image[5, 7, 2] / 255)
    assert to_tensor(image[:, :, 0]).shape == (1, 30, 40)
    kept = to_tensor(image, keep_dtype=True)
    assert kept.dtype == torch.uint8
    kept[:] = 0
    assert image.any()
    assert to_tensor(image[:, :, 0].astype(np.int64)).dtype == torch.int64
    assert to_tensor(image.astype(np.float32))[0, 0, 0] == float(image[0, 0, 0])
    assert to_tensor(np.full((2, 2), 65535, np.uint16)).max() == 1
    with pytest.raises(UserError, match="to_tensor takes a picture"):
        to_tensor(np.zeros(3))


def block() -> dict[str, Any]:
    """One of our samples: a white block with its marks."""
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    image[26:36, 34:50] = 255
    mask = (image[:, :, 0] > 0).astype(np.uint8)
    target = {
        "boxes": [[34.0, 26.0, 50.0, 36.0]],
        "box_labels": [4],
        "mask": mask,
        "masks": mask[None],
        "keypoints": [[42.0, 31.0, 2.0]],
        "class_id": 3,
    }
    return {"x": image, "target": target, "meta": {"index": 0, "path": "a.png"}}


@pytest.mark.seed("S2-41")
@pytest.mark.parametrize("backend", ["results", "engine", "Results"])
@pytest.mark.parametrize(
    "item",
    [
        {"type": "RandomFlip", "kwargs": {"direction": ["horizontal"], "p": 1}},
        {"type": "RandomFlip", "kwargs": {"direction": ["vertical", "diagonal"], "p": 1}},
        {"type": "Resize", "kwargs": {"target_size": [90, 50]}},
        {"type": "Resize", "kwargs": {"target_size": 96, "keep_ratio": True}},
    ],
    ids=str,
)
def test_our_samples_go_through_with_every_mark(backend: str, item: dict[str, Any]) -> None:
    transforms = Transforms(backend, [item, {"type": "RandomColorJitter", "hue_p": 1}])
    assert transforms.thread_safe
    for position in range(4):
        out = transforms(block(), DrawKey(1, 1, position))
        target = out["target"]
        assert list(out) == ["x", "target", "meta"]
        assert target["class_id"] == 3
        assert target["box_labels"] == [4]
        x, y, visible = target["keypoints"][0]
        assert visible == 2
        for plane in (out["x"][:, :, 0] > 127, target["mask"], target["masks"][0]):
            assert plane.shape == out["x"].shape[:2]
            ys, xs = np.nonzero(plane)
            assert (xs.mean() + 0.5, ys.mean() + 0.5) == pytest.approx((x, y), abs=0.7)
            assert target["boxes"][0] == pytest.approx(
                [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], abs=1.3
            )
    assert block()["target"]["keypoints"] == [[42, 31, 2]]


def test_samples_without_marks_and_wrong_ones() -> None:
    transforms = Transforms("results", [{"type": "Resize", "target_size": 8}])
    assert transforms({"image": noise(), "y": 3}, DrawKey(1, 1, 1))["y"] == 3
    empty = block()
    empty["target"].update(boxes=[], masks=[], keypoints=[])
    out = transforms(empty, DrawKey(1, 1, 1))["target"]
    assert out["masks"].shape == (0, 8, 8)
    wrong = block()
    wrong["target"]["mask"] = np.zeros((5, 5), np.uint8)
    with pytest.raises(BadSample, match=r"a\.png \(sample 0\): the mask is 5x5"):
        transforms(wrong, DrawKey(1, 1, 1))
    with pytest.raises(UserError, match="no picture to transform"):
        transforms({"y": 1}, DrawKey(1, 1, 1))


def test_small_pictures_are_asked_for_where_they_do() -> None:
    flip, resize = {"type": "RandomFlip"}, {"type": "Resize", "target_size": 64, "keep_ratio": True}
    tones, blur = ({"type": "RandomColorJitter", f"{n}_p": 1} for n in ("gamma", "blur"))
    key = DrawKey(1, 1, 1)
    assert Transforms("results", [flip, tones, resize]).smallest_needed(300, 400, key) == (48, 64)
    assert Transforms("results", [flip, blur, resize]).smallest_needed(300, 400, key) is None
    assert Transforms("results", [flip]).smallest_needed(300, 400, key) is None


def test_a_config_names_them_and_typing_errors_are_found_before_anything_is_imported(
    tmp_path: Path,
) -> None:
    def problems(transform: str) -> str:
        config = tmp_path / "train.yaml"
        config.write_text(
            "stages:\n- name: train\n  epochs: 1\n  model: {type: 'torch.nn:Identity'}\n"
            "  criterion: {type: 'torch.nn:CrossEntropyLoss'}\n"
            "  optimizer: {type: 'torch.optim:SGD', kwargs: {lr: 0.1}}\n"
            "  dataloader:\n    train:\n      dataset: {data_path: .}\n"
            f"      transforms: {{backend: results, transforms: [{transform}]}}\n"
        )
        try:
            compile_config(config)
        except ConfigErrors as error:
            return str(error)
        return ""

    good = "{type: Resize, kwargs: {target_size: 8}}, {type: RandomColorJitter, kwargs: {hue_p: 1}}"
    assert "transforms" not in problems(good)
    assert "target_size" in problems("{type: Resize, kwargs: {target_sizes: 8}}")
    assert "RandomFlip" in problems("{type: RandomFlop}")
    assert "RandAugment" in problems("{type: RandAugment}")
