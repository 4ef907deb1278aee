"""The shared vocabulary on both back ends: sizes, exactness, order, errors, and the same draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.randomness import DrawKey
from cvtrainer.data.transforms import Transforms, build_transforms, vocabulary

BACKENDS = ["Albumentations", "Torchvision"]
README_TRAIN = [
    {"type": "Resize", "kwargs": {"height": 256, "width": 256}},
    {"type": "RandomResizedCrop", "kwargs": {"height": 224, "width": 224}},
    {"type": "HorizontalFlip", "kwargs": {"p": 0.5}},
]


def picture(height: int = 300, width: int = 200) -> np.ndarray:
    """Smooth colours, so that back ends may differ by rounding only."""
    y, x = np.mgrid[0:height, 0:width]
    bands = [x * 255 / width, y * 255 / height, (x + y) * 255 / (height + width)]
    return np.stack(bands, axis=2).astype(np.uint8)


def noise(height: int = 40, width: int = 30) -> np.ndarray:
    """Every pixel different."""
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def run(backend: str, items: list[Any], image: np.ndarray, position: int = 0) -> np.ndarray:
    """That picture through those transforms."""
    sample = {"x": image, "meta": {"index": 0, "path": "a.png"}}
    out = Transforms(backend, items)(sample, DrawKey(7, 1, position))["x"]
    assert isinstance(out, np.ndarray)
    return out


@pytest.mark.seed("S0-31", "S0-32", "S0-35")
@pytest.mark.parametrize("backend", [*BACKENDS, "albumentations", "TORCHVISION"])
def test_the_documented_list_gives_its_size_on_both(backend: str) -> None:
    assert run(backend, README_TRAIN, picture()).shape == (224, 224, 3)


@pytest.mark.seed("S0-32")
def test_a_template_for_one_back_end_runs_on_the_other_with_the_same_draws() -> None:
    for position in range(8):
        one, other = (run(b, README_TRAIN, picture(), position) for b in BACKENDS)
        assert one.shape == other.shape
        assert np.abs(one.astype(int) - other).max() <= 4


@pytest.mark.seed("S0-32")
@pytest.mark.parametrize("name", ["Resize", "RandomResizedCrop"])
def test_height_and_width_are_the_same_on_both(name: str) -> None:
    items = [{"type": name, "kwargs": {"height": 40, "width": 60}}]
    assert [run(backend, items, picture()).shape for backend in BACKENDS] == [(40, 60, 3)] * 2


@pytest.mark.seed("S0-34")
@pytest.mark.parametrize("backend", BACKENDS)
def test_resize(backend: str) -> None:
    items = [{"type": "Resize", "kwargs": {"height": 256, "width": 256}}]
    assert run(backend, items, picture(300, 200)).shape == (256, 256, 3)
    assert run(backend, [{"type": "Resize", "size": 100}], picture(300, 200)).shape == (150, 100, 3)
    assert run(backend, [{"type": "Resize", "size": [5, 6]}], picture()).shape == (5, 6, 3)
    grey = picture()[:, :, :1]
    assert run(backend, items, grey).shape == (256, 256, 1)
    assert run(backend, items, grey[:, :, 0]).shape == (256, 256)


@pytest.mark.seed("S0-36")
@pytest.mark.parametrize("backend", BACKENDS)
def test_flips_are_exact_or_absent(backend: str) -> None:
    image = noise()
    flip = [{"type": "HorizontalFlip", "kwargs": {"p": 1}}]
    np.testing.assert_array_equal(run(backend, flip, image), image[:, ::-1])
    upside = [{"type": "VerticalFlip", "kwargs": {"p": 1}}]
    np.testing.assert_array_equal(run(backend, upside, image), image[::-1])
    never = [{"type": "HorizontalFlip", "kwargs": {"p": 0}}]
    np.testing.assert_array_equal(run(backend, never, image), image)
    half = [{"type": "HorizontalFlip"}]
    flipped = [not np.array_equal(run(backend, half, image, k), image) for k in range(200)]
    assert 70 < sum(flipped) < 130


@pytest.mark.seed("S0-33")
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_order_of_the_list_is_the_order_of_work(backend: str) -> None:
    resize = {"type": "Resize", "kwargs": {"height": 40, "width": 40}}
    crop = {"type": "CenterCrop", "kwargs": {"height": 20, "width": 20}}
    image = picture(80, 80)
    assert run(backend, [resize, crop], image).shape == (20, 20, 3)
    assert run(backend, [crop, resize], image).shape == (40, 40, 3)
    middle = run(backend, [resize, crop], image)
    np.testing.assert_array_equal(middle, run(backend, [resize], image)[10:30, 10:30])


@pytest.mark.seed("S0-37")
@pytest.mark.parametrize("backend", BACKENDS)
def test_color_jitter_changes_colors_the_same_way_each_time(backend: str) -> None:
    items = [{"type": "ColorJitter", "kwargs": {"brightness": 0.2, "contrast": 0.2}}]
    first = run(backend, items, picture())
    assert first.shape == picture().shape
    assert not np.array_equal(first, picture())
    np.testing.assert_array_equal(first, run(backend, items, picture()))
    assert not np.array_equal(first, run(backend, items, picture(), position=1))


def test_all_colour_steps_agree_between_back_ends() -> None:
    steps = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2}
    for name, amount in steps.items():
        items = [{"type": "ColorJitter", "kwargs": {name: amount}}]
        for position in range(5):
            one, other = (run(b, items, picture(), position) for b in BACKENDS)
            assert np.abs(one.astype(int) - other).mean() < 4, name


@pytest.mark.parametrize("name", vocabulary.__all__)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_word_runs_and_is_a_function_of_its_key(backend: str, name: str) -> None:
    needs: dict[str, dict[str, Any]] = {
        "CenterCrop": {"size": 20},
        "ColorJitter": {"brightness": 0.3, "saturation": 0.3},
        "LongestMaxSize": {"max_size": 50},
        "Pad": {"padding": [1, 2, 3, 4]},
        "PadIfNeeded": {"min_height": 60, "min_width": 50},
        "RandomCrop": {"height": 20, "width": 10},
        "RandomResizedCrop": {"height": 20, "width": 10},
        "Resize": {"height": 20, "width": 10},
        "SmallestMaxSize": {"max_size": 50},
        "Affine": {"rotate": 20, "scale": 0.2, "shear": 10, "translate_percent": 0.1},
        "Rotate": {"p": 1.0},
        "GaussianBlur": {"p": 1.0},
        "ToGray": {"p": 1.0},
        "RandomGamma": {"gamma_limit": [50, 90], "p": 1.0},
        "Posterize": {"num_bits": [1, 4], "p": 1.0},
        "Solarize": {"threshold_range": [0.1, 0.9], "p": 1.0},
        "Equalize": {"p": 1.0},
        "AutoContrast": {"p": 1.0},
        "InvertImg": {"p": 1.0},
        "Transpose": {"p": 1.0},
    }
    sizes = {
        "CenterCrop": (20, 20),
        "LongestMaxSize": (50, 38),
        "Pad": (46, 34),
        "PadIfNeeded": (60, 50),
        "RandomCrop": (20, 10),
        "RandomResizedCrop": (20, 10),
        "Resize": (20, 10),
        "SmallestMaxSize": (67, 50),
        "Transpose": (30, 40),
    }
    items = [{"type": name, "kwargs": needs.get(name, {})}]
    before = noise()
    outs = [run(backend, items, before, position) for position in range(8)]
    np.testing.assert_array_equal(before, noise())
    for position, out in enumerate(outs):
        np.testing.assert_array_equal(out, run(backend, items, before, position))
        assert out.dtype == np.uint8
        if name not in ("RandomRotate90", "RandomScale"):
            assert out.shape == (*sizes.get(name, (40, 30)), 3)
    random = {"RandomCrop", "RandomResizedCrop", "HorizontalFlip", "VerticalFlip", "Rotate"}
    random |= {"Affine", "ColorJitter", "GaussianBlur", "RandomRotate90", "RandomScale"}
    random |= {"RandAugment", "TrivialAugmentWide", "RandomErasing", "CoarseDropout", "Sharpness"}
    random |= {"ElasticTransform", "Perspective", "RandomGamma", "Posterize", "Solarize"}
    assert (len({out.tobytes() for out in outs}) > 1) == (name in random)


def test_random_resized_crop_stays_within_scale_and_ratio() -> None:
    item = vocabulary.RandomResizedCrop(height=1, width=1, scale=(0.2, 0.5), ratio=(0.5, 2.0))
    for seed in range(100):
        top, left, height, width = item.window(100, 80, np.random.default_rng(seed))
        assert 0 <= top <= 1 - height
        assert 0 <= left <= 1 - width
        assert 0.2 <= height * width <= 0.5
        assert 0.5 <= width * 80 / (height * 100) <= 2.0


@pytest.mark.seed("S0-32")
def test_what_cannot_be_translated_is_named() -> None:
    with pytest.raises(UserError, match="CLAHE has no translation to the back end Torchvision"):
        Transforms("Torchvision", [{"type": "CLAHE"}])
    with pytest.raises(UserError, match=r"RandomPosterize .* It exists in Torchvision"):
        Transforms("Albumentations", ["RandomPosterize"])
    with pytest.raises(UserError, match=r"HorizontalFlop .* Did you mean HorizontalFlip\?"):
        Transforms("Albumentations", ["HorizontalFlop"])
    with pytest.raises(UserError, match="Normalize is the tensorizer's work"):
        Transforms("Albumentations", ["Normalize"])
    with pytest.raises(UserError, match="no transform back end 'kornia'"):
        Transforms("kornia", [])


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"type": "Resize", "kwargs": {"heigth": 3}}, r"takes no heigth. Did you mean height\?"),
        ({"type": "Resize", "kwargs": {"height": 3}}, "needs height and width"),
        ({"type": "HorizontalFlip", "p": 1.5}, "p is 1.5"),
        ({"type": "PadIfNeeded", "min_height": 3}, "needs min_width"),
        ({"type": "ColorJitter", "hue": 0.7}, r"stay within -0\.5\.\.0\.5|Stay within"),
        ({"type": "Resize", "size": 3, "interpolation": "soft"}, "no interpolation 'soft'"),
        ({"kwargs": {}}, "transform 1 has no type"),
        (3, "neither a node nor a callable"),
    ],
)
def test_wrong_items_are_named(item: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_transforms("Albumentations", [item])


def test_a_crop_larger_than_the_picture_names_the_file() -> None:
    with pytest.raises(UserError, match=r"a\.png \(sample 0\): RandomCrop to 50x50 of a picture"):
        run("Albumentations", [{"type": "RandomCrop", "size": 50}], noise())
    padded = [{"type": "RandomCrop", "size": 50, "pad_if_needed": True}]
    assert run("Albumentations", padded, noise()).shape == (50, 50, 3)


def test_functions_take_part_and_draw_repeatably() -> None:
    def speckle(sample: dict[str, Any]) -> dict[str, Any]:
        return {**sample, "x": sample["x"] // 2 + np.random.randint(0, 9, sample["x"].shape)}

    items = [{"type": "Resize", "size": [8, 8]}, speckle, {"type": "HorizontalFlip", "p": 1}]
    first = run("Albumentations", items, noise())
    np.testing.assert_array_equal(first, run("Albumentations", items, noise()))
    assert not np.array_equal(first, run("Albumentations", items, noise(), position=1))

    def broken(sample: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("own")

    with pytest.raises(KeyError) as error:
        run("Albumentations", [broken], noise())
    assert error.value.__notes__ == ["in transform broken of a.png (sample 0)"]


def test_functions_may_take_a_generator_and_say_that_threads_may_run_them() -> None:
    def speckle(sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        return {**sample, "x": sample["x"] // 2 + rng.integers(0, 9, sample["x"].shape)}

    items: list[Any] = [{"type": "Resize", "size": [8, 8]}, speckle]
    assert not Transforms("Albumentations", items).thread_safe
    first = run("Albumentations", items, noise())
    speckle.thread_safe = True  # type: ignore[attr-defined]
    assert Transforms("Albumentations", items).thread_safe
    np.testing.assert_array_equal(first, run("Albumentations", items, noise()))


def test_what_threads_may_run() -> None:
    assert Transforms("Albumentations", README_TRAIN).thread_safe
    assert Transforms("Torchvision", ["HorizontalFlip", vocabulary.ToGray()]).thread_safe
    assert not Transforms("Albumentations", ["HorizontalFlip", "CLAHE"]).thread_safe
    assert not Transforms("Torchvision", ["RandomGrayscale"]).thread_safe
    assert not Transforms("Torchvision", [lambda sample: sample]).thread_safe
