"""Two networks against each other: their turns, their latents, what evaluation shows, resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cvtrainer
from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.hooks import EMAHook
from cvtrainer.hooks.base import BaseHook
from cvtrainer.loss import AdversarialLoss
from cvtrainer.meters import FeatureDistanceMeter, LossMeter
from cvtrainer.models import PictureDiscriminator, PictureGenerator
from cvtrainer.tasks import GAN
from cvtrainer.trainer import Trainer
from tests.toy import BatchList
from tests.trainer.test_state import assert_same

SIZE, LATENT = 8, 6


def pictures(count: int = 4, size: int = 6) -> list[dict[str, Any]]:
    """Discs of one colour on a dark ground, at different places."""
    drawn = torch.Generator().manual_seed(3)
    rows = torch.arange(SIZE).float()
    made = []
    for first in range(0, count * size, size):
        place = torch.rand(size, 2, 1, 1, generator=drawn) * 3 + 2
        apart = (rows.view(1, -1, 1) - place[:, 0]) ** 2 + (rows.view(1, 1, -1) - place[:, 1]) ** 2
        disc = torch.sigmoid(6 - apart).unsqueeze(1)
        x = 0.1 + 0.8 * disc * torch.tensor([1.0, 0.5, 0.1]).view(1, 3, 1, 1)
        made.append({"x": x, "meta": {"index": list(range(first, first + size)), "path": [""]}})
    return made


def duel(**task: Any) -> GAN:
    torch.manual_seed(0)
    return GAN(
        PictureGenerator(LATENT, SIZE, width=8),
        PictureDiscriminator(SIZE, width=8),
        AdversarialLoss("hinge"),
        LATENT,
        **task,
    )


def trainer(*hooks: Any, task: GAN | None = None, lr: float = 0.002, size: int = 6) -> Trainer:
    task = task or duel()
    optimizers = {
        update.name: torch.optim.Adam(task.networks[network].parameters(), lr=lr, betas=(0.5, 0.9))
        for update in task.updates()
        for network in update.networks
    }
    torch.manual_seed(1)
    return Trainer(
        task,
        None,
        optimizers,
        {"train": BatchList(pictures(size=size), shuffle=True), "val": pictures(2, 24)},
        hooks=hooks,
        meters=[LossMeter(), FeatureDistanceMeter()],
    )


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_each_turn_changes_its_own_network() -> None:
    changed: list[tuple[str, set[str]]] = []

    class Watch(BaseHook):
        def before_forward(self, stage: Any) -> None:
            self.before = {name: weights(net) for name, net in stage.trainer.networks.items()}

        def after_optimize(self, stage: Any) -> None:
            moved = {
                name
                for name, net in stage.trainer.networks.items()
                for key, parameter in net.named_parameters()
                if not torch.equal(parameter, self.before[name][key])
            }
            changed.append((stage.update, moved))

    trainer(Watch(), task=duel(judge_steps=2)).train(1)
    judged, made = ("judge", {"discriminator"}), ("make", {"generator"})
    assert changed == [judged, made, judged, judged, made, judged]


@pytest.mark.parametrize("kind", ["hinge", "least_squares", "cross_entropy"])
def test_the_losses_are_those_of_the_formula(kind: Any) -> None:
    task = duel()
    task.criterion = loss = AdversarialLoss(kind)
    judge, make = task.updates()
    batch = pictures()[0]
    for network in task.networks.values():
        network.eval()
    torch.manual_seed(5)
    latents = torch.randn(6, LATENT)
    generator, discriminator = task.networks.values()
    made = generator(latents)
    torch.manual_seed(5)
    result = judge.compute(batch)
    torch.testing.assert_close(
        result.loss, loss.judge(discriminator(batch["x"]), discriminator(made))
    )
    torch.testing.assert_close(result.outputs["made"], made)
    assert not result.outputs["made"].requires_grad
    torch.manual_seed(5)
    result = make.compute(batch)
    torch.testing.assert_close(result.loss, loss.maker(discriminator(made)))
    result.loss.backward()
    assert all(one.grad is None and one.requires_grad for one in discriminator.parameters())
    assert all(one.grad is not None for one in generator.parameters())


def test_the_penalty_is_the_squared_slope_at_real_pictures() -> None:
    batch = pictures()[0]

    class Plane(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3 * SIZE**2))

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) @ self.weight

    without, plane = duel(), Plane()
    without.networks["discriminator"] = plane
    without.replace(without.networks)
    torch.manual_seed(2)
    plain = without.updates()[0].compute(batch).loss
    without.penalty = 0.5
    torch.manual_seed(2)
    result = without.updates()[0].compute(batch)
    torch.testing.assert_close(result.loss - plain, 0.25 * plane.weight.square().sum())
    torch.testing.assert_close(result.losses["slope"], plane.weight.square().sum())


def test_pictures_of_an_evaluation_belong_to_their_samples() -> None:
    task = duel()
    for network in task.networks.values():
        network.eval()
    whole, state = pictures(1, 8)[0], torch.get_rng_state()
    with torch.no_grad():
        once = task.evaluate(whole).outputs["made"]
        part = {"x": whole["x"][3:5], "meta": {"index": [3, 4]}}
        again = task.evaluate(part).outputs["made"]
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(again, once[3:5])
    assert not torch.allclose(once[0], once[1])
    other = duel(seed=1)
    assert not torch.equal(other.latents_of([0]), task.latents_of([0]))


@pytest.mark.long
def test_made_pictures_come_nearer_to_real_ones() -> None:
    """The average of the generator is measured; it starts far away and ends near."""
    ema = EMAHook(decay=0.95, warmup=True, networks=["generator"])
    run = trainer(ema, task=duel(penalty=1.0), size=24)
    before = run.evaluate()["val/feature_distance"]
    run.train(60)
    after = run.evaluate()["val/feature_distance"]
    assert before > 1.0, before
    assert after < before / 3, (before, after)


@pytest.mark.seed("S2-77")
def test_the_average_is_of_the_generator_alone_and_is_evaluated() -> None:
    inside: dict[str, dict[str, Tensor]] = {}

    class Look(BaseHook):
        def after_step(self, stage: Any) -> None:
            if stage.phase == "val":
                inside.update({k: weights(net) for k, net in stage.trainer.networks.items()})

    ema = EMAHook(decay=0.5, networks=["generator"])
    run = trainer(ema, Look())
    run.train(1)
    averaged = ema.state_dict()["averaged_weights"]
    assert list(averaged) == ["generator"]
    assert ema.updates == 4
    assert_same(inside["generator"], averaged["generator"])
    assert_same(inside["discriminator"], weights(run.networks["discriminator"]))
    assert not torch.equal(
        run.networks["generator"].start.weight, averaged["generator"]["start.weight"]
    )


def test_an_average_of_a_network_that_is_not_there() -> None:
    with pytest.raises(UserError, match="'maker'; the stage has generator, discriminator"):
        trainer(EMAHook(networks=["maker"])).train(1)


@pytest.mark.parametrize("step", [3, 6])
def test_it_resumes_bit_for_bit(tmp_path: Path, step: int) -> None:
    """In mid-epoch, between two turns of the generator, with its average."""

    class Save(BaseHook):
        def after_step(self, stage: Any) -> None:
            if stage.phase == "train" and stage.step == step:
                stage.trainer.request_save(tmp_path / "mid.pth")

    def fresh() -> Trainer:
        ema = EMAHook(decay=0.9, networks=["generator"])
        return trainer(Save(), ema, task=duel(judge_steps=2, penalty=0.5))

    whole = fresh()
    expected = whole.train(3)
    again = fresh()
    again.load_state_dict(read_checkpoint(tmp_path / "mid.pth"))
    torch.manual_seed(99)
    assert again.train(3) == expected
    assert "val/feature_distance" in expected
    for name, network in whole.networks.items():
        assert_same(weights(network), weights(again.networks[name]))
    assert_same(whole.hooks["ema"].state_dict(), again.hooks["ema"].state_dict())


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(UserError, match=r"MSELoss has no judge\(real, made\)"):
        GAN(nn.Identity(), nn.Identity(), nn.MSELoss())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="latent is 7, and the generator takes 8"):
        GAN(PictureGenerator(latent=8, size=8), nn.Identity(), AdversarialLoss(), latent=7)
    with pytest.raises(UserError, match="judge_steps 0"):
        duel(judge_steps=0)
    with pytest.raises(UserError, match=r"makes pictures of \[3, 8, 8\], those of 'x' are"):
        duel().updates()[0].compute({"x": torch.rand(2, 3, 16, 16)})
    with pytest.raises(UserError, match="no field 'picture'; there is x, meta"):
        duel(field="picture").updates()[0].compute(pictures()[0])
    with pytest.raises(UserError, match="the generator's size is 12"):
        PictureGenerator(size=12)


STAGE = """
task:
  type: gan
  generator: {type: picture_generator, latent: 5, size: 16, channels: 1, width: 4}
  discriminator: {type: picture_discriminator, size: 16, channels: 1, width: 4}
  loss: {type: adversarial_loss, kind: hinge}
  latent: 5
  judge_steps: 2
optimizer:
  generator: {type: Adam, lr: 0.001, betas: [0.0, 0.9]}
  discriminator: {type: Adam, lr: 0.004, betas: [0.0, 0.9]}
dataloader:
  train: &data
    dataset: {type: digits, size: 16, color: grey}
    tensorizer: {type: tensorizer, mapping: {x: {type: image, normalize: null}, class_id: index}}
    dataloader_args: {batch_size: 32}
  val: *data
hooks: [{type: ema, decay: 0.9, networks: [generator]}]
meters: [loss, feature_distance]
max_steps: 4
"""


def test_a_config_names_networks_loss_and_an_optimizer_for_each(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(STAGE, encoding="utf-8")
    result = cvtrainer.train(file, run_dir=tmp_path / "run")
    numbers = result.metrics["train"]
    assert {"train/loss_judge", "val/loss_make", "val/feature_distance"} <= set(numbers)
    saved = read_checkpoint(result.checkpoints[-1])
    rates = {name: one["param_groups"][0]["lr"] for name, one in saved["optimizers"].items()}
    assert rates == {"judge": 0.004, "make": 0.001}
    assert list(saved["hooks"]["ema"]["averaged_weights"]) == ["generator"]
