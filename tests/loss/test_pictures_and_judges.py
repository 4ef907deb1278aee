"""Losses of generated pictures, judges, and weighted sums."""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.loss import AdversarialLoss, PerceptualLoss, SSIMLoss, WeightedLosses
from cvtrainer.ops.similarity import structural_similarity


def pictures(seed: int, size: int = 32) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_structure_is_a_loss() -> None:
    made, wanted = pictures(1).requires_grad_(), pictures(2)
    loss = SSIMLoss()(made, wanted)
    torch.testing.assert_close(loss, 1 - structural_similarity(made, wanted).mean())
    loss.backward()
    assert made.grad is not None
    assert made.grad.abs().sum() > 0
    with pytest.raises(UserError, match="smaller than the window of 11"):
        SSIMLoss()(pictures(1, 8), pictures(2, 8))
    with pytest.raises(UserError, match="window is 4"):
        SSIMLoss(window=4)


@pytest.mark.seed("S4-77")
def test_the_stand_in_sees_edges_and_says_what_it_is() -> None:
    loss, wanted = PerceptualLoss("gradients"), pictures(1)
    assert loss(wanted, wanted) == 0
    assert loss(wanted + 0.2, wanted) < 1e-5, "brightness has no edges"
    assert loss(functional.avg_pool2d(wanted, 3, 1, 1), wanted) > 0.1
    assert "not a perceptual distance" in " ".join((PerceptualLoss.__doc__ or "").split())


@pytest.mark.seed("S4-77")
def test_without_its_package_there_is_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(UserError, match="lpips is not installed") as caught:
        PerceptualLoss()
    assert "kind: gradients" in str(caught.value)


@pytest.mark.seed("S4-77")
def test_without_its_weights_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says where they belong; a fetch that fails is one line too."""
    pytest.importorskip("lpips")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match="weights of alex for lpips are not there") as caught:
        PerceptualLoss()
    assert f"{tmp_path}/hub/checkpoints/alexnet-owt-7be5be79.pth" in str(caught.value)
    assert "download: true, or use kind: gradients" in str(caught.value)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setattr(urllib.request, "_opener", None)  # one of before knows no proxy
    with pytest.raises(UserError, match="cannot be fetched: "):
        PerceptualLoss(download=True)
    assert not list(tmp_path.rglob("*.pth"))


@pytest.mark.seed("S4-77")
def test_the_judge_is_that_of_its_authors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a backbone of random weights where the trained ones would lie."""
    lpips = pytest.importorskip("lpips")
    alexnet = pytest.importorskip("torchvision").models.alexnet
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(0)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    place = tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    torch.save(alexnet().state_dict(), place)
    judge = lpips.LPIPS(net="alex", verbose=False)
    made, wanted = pictures(1, 64).requires_grad_(), pictures(2, 64)
    loss = PerceptualLoss(network="alex")(made, wanted)
    torch.testing.assert_close(loss, judge(2 * made - 1, 2 * wanted - 1).mean())
    loss.backward()
    assert made.grad is not None
    assert all(p.grad is None for p in judge.parameters())


@pytest.mark.seed("S4-77")
def test_pictures_are_scaled_for_the_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its range is -1 to 1; it never learns, and stays in evaluation mode."""
    seen: list[Tensor] = []

    class Judge(nn.Module):
        def forward(self, made: Tensor, wanted: Tensor) -> Tensor:
            seen.extend((made, wanted))
            return (made - wanted).abs().mean(dim=(1, 2, 3), keepdim=True)

    monkeypatch.setattr("cvtrainer.loss.pictures._lpips", lambda network, download: Judge())
    loss = PerceptualLoss().train()
    value = loss(torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4))
    assert [float(one.mean()) for one in seen] == [1.0, -1.0]
    assert value.ndim == 0
    assert loss.training
    assert loss.judge is not None
    assert not loss.judge.training


def test_checkpoints_do_not_carry_the_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    judges = [nn.Conv2d(3, 1, 1), nn.Conv2d(3, 1, 1)]
    monkeypatch.setattr("cvtrainer.loss.pictures._lpips", lambda network, download: judges.pop())
    one, other = (nn.ModuleDict({"judged": PerceptualLoss()}) for _ in range(2))
    before = {name: value.clone() for name, value in other.named_parameters()}
    assert before
    assert one.state_dict() == {}
    other.load_state_dict(one.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in other.named_parameters())


@pytest.mark.seed("S2-108")
def test_judge_and_maker_want_opposite_things() -> None:
    real, made = torch.tensor([0.5, 2.0]), torch.tensor([-2.0, 0.25])
    hinge = AdversarialLoss()
    assert float(hinge.judge(real, made)) == pytest.approx(0.25 + 0.625)
    assert float(hinge.maker(made)) == pytest.approx(0.875)
    squares = AdversarialLoss("least_squares")
    assert float(squares.judge(real, made)) == pytest.approx((0.625 + 2.03125) / 2)
    assert float(squares.maker(made)) == pytest.approx((9 + 0.5625) / 2)
    entropy = AdversarialLoss("cross_entropy")
    expected = (functional.softplus(-real).mean() + functional.softplus(made).mean()) / 2
    torch.testing.assert_close(entropy(made, real), expected)
    torch.testing.assert_close(entropy.maker(made), functional.softplus(-made).mean())


@pytest.mark.seed("S2-74", "S2-82", "S2-83")
def test_a_weighted_sum_reports_its_parts() -> None:
    scores = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    classes = torch.tensor([0, 2, 1, 1])
    entropy, margin = nn.CrossEntropyLoss(), nn.MultiMarginLoss()
    both = WeightedLosses({"ce": entropy, "margin": margin}, {"ce": 10.0})
    found = both(scores, classes)
    expected = 10 * entropy(scores, classes) + margin(scores, classes)
    torch.testing.assert_close(found["loss"], expected)
    torch.testing.assert_close(found["ce"], entropy(scores, classes))
    assert list(found) == ["loss", "ce", "margin"]
    gradients = [torch.autograd.grad(one, scores)[0] for one in (found["loss"], expected)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (({},), "names none"),
        (({"loss": nn.L1Loss()},), "name of the sum"),
        (({"a": nn.L1Loss()}, {"b": 1.0}), "weights names b; there is a"),
    ],
)
def test_sums_that_cannot_be(arguments: Any, text: str) -> None:
    with pytest.raises(UserError, match=text):
        WeightedLosses(*arguments)
