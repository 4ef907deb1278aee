"""The code book: nearest codes, straight-through gradients, its two ways of learning."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.models import VQVAE, VectorQuantizer


def quantizer(**arguments: Any) -> VectorQuantizer:
    torch.manual_seed(0)
    made = VectorQuantizer(codes=4, width=2, **arguments)
    with torch.no_grad():
        made.book.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]))
        if made.decay is not None:
            made.sums.copy_(made.book)
    return made


MAPS = torch.tensor([[[[0.9, 0.1, 0.2]], [[0.2, 0.9, 0.1]]]])
"""One picture of three places: near codes 1, 2 and 0."""


@pytest.mark.parametrize("decay", [None, 0.9])
def test_the_nearest_code_takes_a_vectors_place(decay: float | None) -> None:
    one = quantizer(decay=decay).eval()
    near, loss, codes, perplexity = one(MAPS)
    assert codes.tolist() == [[[1, 2, 0]]]
    torch.testing.assert_close(near, one.look_up(codes))
    apart = functional.mse_loss(near, MAPS)
    torch.testing.assert_close(loss, (0.25 if decay else 1.25) * apart)
    assert float(perplexity) == pytest.approx(3.0)


@pytest.mark.seed("S4-70", "S4-71")
def test_gradients_pass_straight_through() -> None:
    one = quantizer(decay=None)
    maps = MAPS.clone().requires_grad_()
    near, loss, _, _ = one(maps)
    (near * torch.tensor([3.0, 5.0]).view(1, 2, 1, 1)).sum().backward(retain_graph=True)
    assert maps.grad is not None
    assert one.book.grad is None
    torch.testing.assert_close(maps.grad[0, :, 0, 0], torch.tensor([3.0, 5.0]))
    loss.backward()
    assert one.book.grad[:3].abs().sum() > 0
    assert one.book.grad[3].abs().sum() == 0


def test_the_book_is_the_moving_average_of_its_vectors() -> None:
    one = quantizer(decay=0.9, revive=0.0)
    before = one.book.clone()
    one(MAPS)
    used = 0.9 + 0.1 * torch.tensor([1.0, 1.0, 1.0, 0.0])
    sums = 0.9 * before
    sums[[1, 2, 0]] += 0.1 * MAPS[0, :, 0].T
    torch.testing.assert_close(one.used, used)
    torch.testing.assert_close(one.book, sums / used.unsqueeze(1))
    learnt = one.book.clone()
    one.eval()(MAPS)
    assert torch.equal(one.book, learnt)
    assert not list(one.parameters())


def test_a_code_out_of_use_becomes_one_of_the_vectors() -> None:
    one = quantizer(decay=0.5, revive=0.5)
    for _ in range(4):
        one(MAPS)
    assert min(float((row - one.book[3]).abs().sum()) for row in MAPS[0, :, 0].T) < 1e-5
    assert int(one(MAPS)[2].max()) <= 3


@pytest.mark.seed("S4-71")
def test_the_model_gives_pictures_their_loss_and_perplexity() -> None:
    torch.manual_seed(0)
    model = VQVAE(width=8, codes=16, code_width=4).eval()
    with torch.no_grad():
        made = model(torch.rand(2, 3, 16, 24))
    assert list(made) == ["recon", "vq", "perplexity", "codes"]
    assert made["recon"].shape == (2, 3, 16, 24)
    assert 0 <= float(made["recon"].min()) <= float(made["recon"].max()) <= 1
    assert made["vq"].ndim == made["perplexity"].ndim == 0
    assert 1 <= float(made["perplexity"]) <= 16
    assert made["codes"].shape == (2, 4, 6)
    torch.testing.assert_close(model.picture_of(made["codes"]), made["recon"])


def test_in_half_precision_distances_stay_exact() -> None:
    one = quantizer(decay=None)
    with torch.autocast("cpu", torch.bfloat16):
        near, loss, codes, _ = one(MAPS.bfloat16())
    assert codes.tolist() == [[[1, 2, 0]]]
    assert near.dtype == torch.bfloat16
    assert loss.dtype == torch.float32


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(UserError, match="downsampling is 6"):
        VQVAE(downsampling=6)
    with pytest.raises(UserError, match=r"\[18, 16\] do not divide by its downsampling of 4"):
        VQVAE(width=8)(torch.rand(1, 3, 18, 16))
    with pytest.raises(UserError, match="codes is 1"):
        VectorQuantizer(codes=1)
    with pytest.raises(UserError, match=r"decay is 1;"):
        VectorQuantizer(decay=1.0)
