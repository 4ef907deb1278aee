"""Several optimizers for several networks, from the config to the weights."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from torch import nn

import cvtrainer
from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.experiment import Experiment
from cvtrainer.experiment.per_update import optimizer_per_update
from tests.engine.test_step import Duel
from tests.project import change, write_project
from tests.trainer.test_state import assert_same

TASK = '''
"""A generator of pictures and what tells them from real ones."""

import torch
from torch import nn

from cvtrainer.protocols import UpdateResult


class Update:
    every = 1

    def __init__(self, name, networks, compute):
        self.name, self.networks, self.compute = name, networks, compute


class Duel:
    def __init__(self):
        self.networks = {"generator": nn.Conv2d(3, 3, 1), "judge": nn.Conv2d(3, 1, 12)}
        self.used = dict(self.networks)

    def updates(self):
        return (
            Update("make", ("generator",), self.make),
            Update("discriminate", ("judge",), self.discriminate),
        )

    def make(self, batch):
        loss = -self.used["judge"](self.used["generator"](batch["x"])).mean()
        return UpdateResult(loss, {}, {})

    def discriminate(self, batch):
        judge = self.used["judge"]
        fake = judge(self.used["generator"](batch["x"]).detach())
        loss = (1 - judge(batch["x"])).relu().mean() + (1 + fake).relu().mean()
        return UpdateResult(loss, {}, {})

    def evaluate(self, batch):
        return UpdateResult(self.used["judge"](batch["x"]).mean(), {}, {})

    def replace(self, networks):
        self.used = dict(networks)


def falling(done):
    return 0.5**done
'''
TWO = {
    "make": {"type": "Adam", "lr": 0.01, "betas": [0.5, 0.9]},
    "judge": {"type": "SGD", "lr": 0.1, "momentum": 0.9, "groups": {"no_decay": ["bias"]}},
}
HOOKS = [
    {
        "name": "make_rate",
        "type": "lr_scheduler",
        "update": "make",
        "by": "step",
        "scheduler_type": "cosine",
    },
    {
        "name": "judge_rate",
        "type": "lr_scheduler",
        "update": "discriminate",
        "scheduler_type": "LambdaLR",
        "scheduler_kwargs": {"lr_lambda": "apps.toy.duel:falling"},
    },
    {"type": "checkpoint", "save_steps": 4},
]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = write_project(tmp_path)
    (path.parent / "duel.py").write_text(dedent(TASK))
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name == "apps" or name.startswith("apps.")]:
        monkeypatch.delitem(sys.modules, name)
    change(
        path,
        model=None,
        model_args=None,
        criterion=None,
        task="apps.toy.duel:Duel",
        meters=["loss"],
        optimizer=TWO,
        hooks=HOOKS,
    )
    return path


def stage_with(optimizer: Any) -> dict[str, Any]:
    return {"optimizer": optimizer}


def node(kind: str) -> dict[str, Any]:
    return {"type": f"torch.optim:{kind}", "kwargs": {"lr": 0.1}, "layerwise": {}}


@pytest.mark.parametrize("names", [("judge", "make"), ("discriminator", "generator")])
def test_each_update_has_its_own(names: tuple[str, str]) -> None:
    task = Duel()
    stage = stage_with({names[0]: node("SGD"), names[1]: node("Adam")})
    factory = Experiment().optimizers(stage, task)
    assert factory is not None
    made = factory(task.networks)
    assert {name: type(one) for name, one in made.items()} == {
        "judge": torch.optim.SGD,
        "make": torch.optim.Adam,
    }
    (group,) = made["judge"].param_groups
    assert group["params"] == list(task.networks["discriminator"].parameters())


def test_one_for_all_is_made_for_each() -> None:
    task = Duel()
    factory = Experiment().optimizers(stage_with(node("SGD")), task)
    assert factory is not None
    judge, make = factory(task.networks).values()
    assert judge is not make
    assert type(judge) is type(make) is torch.optim.SGD


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (
            {"judge": node("SGD"), "mak": node("SGD")},
            "optimizer: the task has no update 'mak'. Did you mean make?",
        ),
        (
            {"judge": node("SGD"), "xyz": node("SGD")},
            "no update 'xyz'. There is judge, make, discriminator, generator.",
        ),
        ({"judge": node("SGD")}, "the update 'make' has none. Give it one under `make`"),
        (
            {"judge": node("SGD"), "discriminator": node("SGD"), "make": node("SGD")},
            "'judge' is given two optimizers",
        ),
    ],
)
def test_names_that_do_not_fit_are_one_line(optimizer: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        optimizer_per_update(stage_with(optimizer), Duel())
    assert message in str(caught.value)


def test_a_config_trains_two_networks_each_with_its_rates(config: Path, tmp_path: Path) -> None:
    result = cvtrainer.train(config, run_dir=tmp_path / "run")
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "checkpoint_step_12.pth")
    make, judge = state["optimizers"]["make"], state["optimizers"]["discriminate"]
    assert [tuple(group["betas"]) for group in make["param_groups"]] == [(0.5, 0.9)]
    assert [group["kind"] for group in judge["param_groups"]] == ["weight", "bias"]
    assert judge["param_groups"][1]["weight_decay"] == 0.0
    steps = state["clock"]["step"]
    (resolved,) = compile_config(config).resolved["stages"]
    assert resolved["optimizer"]["make"]["type"] == "torch.optim:Adam"
    total = 3 * 5
    cosine = 0.01 * (1 + torch.cos(torch.tensor(steps / total * torch.pi))) / 2
    assert make["param_groups"][0]["lr"] == pytest.approx(float(cosine), rel=1e-5)
    assert judge["param_groups"][0]["lr"] == pytest.approx(0.1 * 0.5 ** (steps // 5))
    assert result.metrics["train"]


def test_two_optimizers_resume_to_the_same_weights(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    cvtrainer.train(config, run_dir=tmp_path / "run")
    whole = read_checkpoint(folder / "checkpoint_step_12.pth")
    (folder / "checkpoint_step_12.pth").unlink()
    cvtrainer.train(config, resume=str(folder / "checkpoint_step_8.pth"))
    again = read_checkpoint(folder / "checkpoint_step_12.pth")
    for key in ("networks", "optimizers", "hooks"):
        assert_same(whole[key], again[key])


def test_modules_are_trained_apart(config: Path) -> None:
    """A group of one optimizer never holds a parameter of the other's network."""
    (stage,) = compile_config(config).resolved["stages"]
    experiment = Experiment(config)
    task = experiment.task(stage)
    factory = experiment.optimizers(stage, task)
    assert factory is not None
    held = [
        {parameter for group in one.param_groups for parameter in group["params"]}
        for one in factory(task.networks).values()
    ]
    assert not held[0] & held[1]
    assert isinstance(task.networks["judge"], nn.Conv2d)
