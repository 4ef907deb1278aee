"""Tensorizers: exact numbers for right values, and clear words for wrong ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.data.tensorizer import (
    BoxTensorizer,
    ImageTensorizer,
    IndexTensorizer,
    KeypointTensorizer,
    MaskTensorizer,
    OneHotTensorizer,
    ScalarTensorizer,
    Tensorizer,
)

PICTURE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def sample(**target: Any) -> dict[str, Any]:
    """A sample with that target."""
    return {"x": PICTURE, "target": target, "meta": {"index": 17, "path": "data/a.png"}}


@pytest.mark.seed("S0-40")
def test_imagenet_normalisation_is_exact() -> None:
    out = ImageTensorizer(normalize="imagenet", dtype="float")(PICTURE)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    planes = torch.from_numpy(PICTURE).permute(2, 0, 1).float()
    assert out.dtype == torch.float32
    assert out.shape == (3, 5, 7)
    assert out.is_contiguous()
    assert torch.equal(out, (planes / 255 - mean) / std)


@pytest.mark.seed("S0-41")
def test_own_mean_and_std_none_and_resize() -> None:
    own = ImageTensorizer({"mean": [0.4914, 0.4822, 0.4465], "std": [0.247, 0.2435, 0.2616]})
    planes = torch.from_numpy(PICTURE).permute(2, 0, 1).float() / 255
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
    std = torch.tensor([0.247, 0.2435, 0.2616]).view(3, 1, 1)
    assert torch.equal(own(PICTURE), (planes - mean) / std)
    plain = ImageTensorizer(None)(PICTURE)
    assert torch.equal(plain, planes)
    assert plain.min() >= 0
    assert plain.max() <= 1
    assert ImageTensorizer(None, resize=[10, 12])(PICTURE).shape == (3, 10, 12)
    half = ImageTensorizer(None, resize=4)(np.full((8, 8, 3), 128, np.uint8))
    assert torch.allclose(half, torch.full((3, 4, 4), 128 / 255))
    assert torch.equal(
        ImageTensorizer(None, dtype="uint8")(PICTURE), torch.from_numpy(PICTURE).permute(2, 0, 1)
    )


def test_pictures_of_other_kinds() -> None:
    assert ImageTensorizer(None)(PICTURE[:, :, 0]).shape == (1, 5, 7)
    assert torch.equal(
        ImageTensorizer(None)(PICTURE[:, ::-1]).flip(2), ImageTensorizer(None)(PICTURE)
    )
    deep = np.full((2, 2, 1), 65535, dtype=np.uint16)
    assert ImageTensorizer(None)(deep).max() == 1.0
    ready = np.full((2, 2, 3), 0.25, dtype=np.float32)
    assert torch.equal(ImageTensorizer(None)(ready), torch.full((3, 2, 2), 0.25))
    before = PICTURE.copy()
    ImageTensorizer()(PICTURE)
    np.testing.assert_array_equal(PICTURE, before)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"normalize": "cifar"}, "no normalisation called 'cifar'"),
        ({"normalize": {"mean": [0.5]}}, "not mean and std"),
        ({"normalize": {"mean": [0.5, 0.5], "std": [0.5]}}, "same count"),
        ({"normalize": {"mean": [123.0], "std": [58.0]}}, "scale of 0..255"),
        ({"dtype": "flaot"}, "no number type 'flaot'"),
        ({"dtype": "uint8"}, "do not fit into uint8"),
    ],
)
def test_wrong_settings_of_the_image_tensorizer(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ImageTensorizer(**arguments)


def test_channels_and_normalisation_must_agree() -> None:
    with pytest.raises(UserError, match="has 1 channels, but mean and std have 3"):
        ImageTensorizer()(PICTURE[:, :, 0])
    with pytest.raises(UserError, match="not a picture"):
        ImageTensorizer()(np.zeros(3))


@pytest.mark.seed("S0-42")
def test_one_hot() -> None:
    one_hot = OneHotTensorizer(num_classes=101, dtype="float")
    out = one_hot(3)
    assert out.dtype == torch.float32
    assert out.shape == (101,)
    assert out.sum() == 1
    assert out[3] == 1
    several = one_hot([3, 100])
    assert several.nonzero().flatten().tolist() == [3, 100]
    assert one_hot([]).sum() == 0
    assert OneHotTensorizer(5, dtype="long")(3).dtype == torch.int64
    for wrong in (101, -1, [0, 101]):
        with pytest.raises(UserError, match=r"is outside 0\.\.100"):
            one_hot(wrong)
    with pytest.raises(UserError, match="must be a class number"):
        one_hot("cat")


@pytest.mark.seed("S0-43")
def test_one_hot_and_index_targets_give_the_same_loss() -> None:
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    labels = [0, 4, 2, 2]
    index = torch.stack([IndexTensorizer(5)(label) for label in labels])
    one_hot = torch.stack([OneHotTensorizer(5)(label) for label in labels])
    assert index.dtype == torch.int64
    torch.testing.assert_close(
        functional.cross_entropy(logits, index), functional.cross_entropy(logits, one_hot)
    )


@pytest.mark.seed("S0-38", "S0-39")
def test_target_fields_are_reached_by_their_own_name() -> None:
    mapping = {"x": ImageTensorizer(), "class_id": OneHotTensorizer(101)}
    out = Tensorizer(mapping)(sample(class_id=3))
    assert out["x"].shape == (3, 5, 7)
    assert out["target"]["class_id"].argmax() == 3
    assert out["meta"] == {"index": 17, "path": "data/a.png"}
    dotted = Tensorizer({"x": ImageTensorizer(), "target.class_id": IndexTensorizer()})
    assert dotted(sample(class_id=3))["target"]["class_id"] == 3


@pytest.mark.seed("S0-38")
def test_a_field_without_tensorizer_is_an_error_or_passes() -> None:
    mapping = {"x": ImageTensorizer(), "class_id": IndexTensorizer()}
    with pytest.raises(UserError) as error:
        Tensorizer(mapping)(sample(class_id=3, depth=1.5))
    assert str(error.value).startswith("data/a.png (sample 17): field target.depth has no tensor")
    passed = Tensorizer(mapping, unmapped="pass")(sample(class_id=3, depth=1.5))
    assert passed["target"]["depth"] == 1.5


def test_failures_name_field_sample_and_file() -> None:
    tensorizer = Tensorizer({"x": ImageTensorizer(), "class_id": OneHotTensorizer(3)})
    with pytest.raises(UserError) as error:
        tensorizer(sample(class_id=7))
    text = str(error.value)
    assert text.startswith("data/a.png (sample 17): field class_id: label 7 is outside 0..2")
    with pytest.raises(UserError, match=r"names field class_id.*Did you mean class_idx\?"):
        Tensorizer(tensorizer.mapping, unmapped="pass")(sample(class_idx=1))

    def broken(value: Any) -> torch.Tensor:
        raise ZeroDivisionError("user's own")

    with pytest.raises(ZeroDivisionError) as own:
        Tensorizer({"x": ImageTensorizer(), "class_id": broken})(sample(class_id=1))
    assert any("class_id of data/a.png (sample 17)" in note for note in own.value.__notes__)
    with pytest.raises(UserError, match="str is not a tensorizer"):
        Tensorizer({"x": "ImageTensorizer"})  # type: ignore[dict-item]


def test_boxes() -> None:
    boxes = [[1, 2, 5, 10], [0, 0, 4, 4]]
    assert BoxTensorizer()(boxes).tolist() == [[1, 2, 5, 10], [0, 0, 4, 4]]
    assert BoxTensorizer("xywh")(boxes).tolist() == [[1, 2, 4, 8], [0, 0, 4, 4]]
    assert BoxTensorizer("cxcywh")(boxes).tolist() == [[3, 6, 4, 8], [2, 2, 4, 4]]
    assert BoxTensorizer()([]).shape == (0, 4)
    with pytest.raises(UserError, match="ends before it begins"):
        BoxTensorizer()([[5, 0, 1, 1]])
    with pytest.raises(UserError, match="rows of 4 numbers"):
        BoxTensorizer()([[1, 2, 3]])


def test_masks_points_and_numbers() -> None:
    mask = np.array([[0, 1], [2, 255]], dtype=np.uint8)
    assert MaskTensorizer(3)(mask).tolist() == mask.tolist()
    assert MaskTensorizer()(mask[:, :, None]).shape == (2, 2)
    with pytest.raises(UserError, match=r"mask value 2 is outside 0\.\.1"):
        MaskTensorizer(2)(mask)
    with pytest.raises(UserError, match="mask value 255"):
        MaskTensorizer(3, ignore_index=None)(mask)
    assert KeypointTensorizer()([[1, 2, 1]]).shape == (1, 3)
    assert ScalarTensorizer()(2.5) == 2.5
    assert ScalarTensorizer()([1, 2]).dtype == torch.float32
    with pytest.raises(UserError, match="not a number"):
        ScalarTensorizer()("two")
