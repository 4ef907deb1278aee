"""The sixteen points: when each fires, in which order, and what may be changed there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cvtrainer.engine.points import POINTS, Rank, compile_table
from cvtrainer.hooks.base import BaseHook
from cvtrainer.meters import AccuracyMeter, LossMeter
from tests.toy import Probe, batches, new_run, toy_trainer

TRAIN_STEP = [
    "before_step",
    "before_forward",
    "after_forward",
    "before_backward",
    "after_backward",
    "before_optimize",
    "after_optimize",
    "after_step",
]
EVAL_STEP = ["before_step", "before_forward", "after_forward", "after_step"]


class SaveEachEpoch(BaseHook):
    rank = Rank.SAVE

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def after_epoch(self, stage: Any) -> None:
        stage.trainer.request_save(self.folder / f"{stage.epoch}.pth", wait=True)


@pytest.mark.seed(
    "S0-78", "S0-79", "S0-80", "S0-81", "S0-82", "S0-83", "S0-84", "S0-85", "S0-86", "S0-87",
    "S0-88", "S0-89", "S0-90", "S0-91", "S0-92", "S0-93", "S0-94",
)  # fmt: skip
def test_order_over_two_epochs_of_two_steps(tmp_path: Path) -> None:
    probe = Probe()
    trainer = toy_trainer([probe, SaveEachEpoch(tmp_path)], train=batches(2), val=batches(2))
    trainer.train(2)

    training = ["before_epoch", *TRAIN_STEP, *TRAIN_STEP, "after_epoch"]
    evaluation = ["before_eval", *EVAL_STEP, *EVAL_STEP, "after_eval"]
    one_epoch = [*training, *evaluation, "before_save", "after_save"]
    assert [point for point, _ in probe.seen] == [
        "before_train",
        *one_epoch,
        *one_epoch,
        "after_train",
    ]
    assert {point for point, phase in probe.seen if phase == "val"} == {
        *EVAL_STEP,
        "before_eval",
        "after_eval",
    }
    assert set(POINTS) == {point for point, _ in probe.seen}
    assert len(POINTS) == 16


@pytest.mark.seed("S0-78")
def test_before_train_fires_once_in_a_resumed_stage_too() -> None:
    begun = toy_trainer()
    begun.train(1)
    again = toy_trainer([probe := Probe()])
    again.load_state_dict(begun.state_dict())
    again.train(3)
    assert [point for point, _ in probe.seen].count("before_train") == 1
    assert [point for point, _ in probe.seen][:2] == ["before_train", "before_epoch"]


@pytest.mark.seed("S0-79")
def test_after_train_fires_once_when_stopped_early() -> None:
    probe = Probe()

    class Stop(BaseHook):
        def after_step(self, stage: Any) -> None:
            if stage.step == 3:
                stage.trainer.stop()

    trainer = toy_trainer([Stop(), probe])
    trainer.train(5)
    assert trainer.clock.step == 3
    assert [point for point, _ in probe.seen].count("after_train") == 1


@pytest.mark.seed("S0-77")
def test_stage_has_its_keys_at_every_point(tmp_path: Path) -> None:
    keys = ("context", "trainer", "epoch", "step", "phase", "model")
    seen: dict[str, list[bool]] = {}
    phases: dict[str, set[str]] = {}

    class Look(BaseHook): ...

    def listener(point: str) -> Any:
        def listen(self: Any, stage: Any) -> None:
            seen[point] = [key in stage and stage[key] is not None for key in keys]
            assert stage.epoch == stage["epoch"]
            assert set(keys) <= set(stage)
            phases.setdefault(point, set()).add(stage["phase"])

        return listen

    for point in POINTS:
        setattr(Look, point, listener(point))
    toy_trainer([Look(), SaveEachEpoch(tmp_path)]).train(1)
    assert seen == {point: [True] * len(keys) for point in POINTS}
    assert phases.pop("before_eval") == phases.pop("after_eval") == {"val"}
    for point, found in phases.items():
        assert found == ({"train", "val"} if point in EVAL_STEP else {"train"}), point


@pytest.mark.seed("S0-76")
def test_custom_hook_of_the_readme_prints_one_finite_loss_per_step(capsys: Any) -> None:
    class MyCustomHook(BaseHook):
        def after_step(self, stage: Any) -> None:
            loss = stage["context"].get("loss")
            print(f"Step loss: {loss}")

    toy_trainer([MyCustomHook()], val=False).train(1)
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == len(batches())
    assert all(line.startswith("Step loss: ") for line in lines)
    assert all("nan" not in line and "grad_fn" not in line for line in lines)


@pytest.mark.seed("S0-75")
def test_hooks_talk_through_the_context() -> None:
    heard = []

    class Speaker(BaseHook):
        def after_step(self, stage: Any) -> None:
            stage["context"].set("word", stage.step)
            stage["context"].update({"other": 1})

    class Listener(BaseHook):
        def after_step(self, stage: Any) -> None:
            context = stage["context"]
            heard.append(context.get("word"))
            assert context.has("other")
            context.remove("other")
            assert not context.has("other")
            assert context.get("other", 7) == 7

    toy_trainer([Speaker(), Listener()], val=False).train(1)
    assert heard == [1, 2, 3, 4]


@pytest.mark.seed("S0-84")
def test_before_forward_may_change_the_batch() -> None:
    sizes = []

    class Halve(BaseHook):
        def before_forward(self, stage: Any) -> None:
            batch = stage["batch"]
            stage["batch"] = {
                **batch,
                "x": batch["x"][:2],
                "target": {"class_id": batch["target"]["class_id"][:2]},
            }

        def after_forward(self, stage: Any) -> None:
            sizes.append(len(stage["outputs"]["output"]))

    toy_trainer([Halve()], val=False).train(1)
    assert sizes == [2, 2, 2, 2]


@pytest.mark.seed("S0-82")
def test_before_step_sees_the_batch_the_loader_made_and_may_replace_it() -> None:
    ready = batches()
    seen = []

    class Swap(BaseHook):
        def before_step(self, stage: Any) -> None:
            seen.append(stage["batch"])
            stage["batch"] = ready[0]

        def after_forward(self, stage: Any) -> None:
            assert len(stage["outputs"]["output"]) == len(ready[0]["x"])

    toy_trainer([Swap()], train=ready, val=False).train(1)
    assert all(one is other for one, other in zip(seen, ready, strict=True))


@pytest.mark.seed("S0-83", "S0-85")
def test_outputs_loss_and_meters_are_those_of_this_step() -> None:
    losses: list[float] = []

    class Look(BaseHook):
        def before_epoch(self, stage: Any) -> None:
            losses.clear()

        def before_eval(self, stage: Any) -> None:
            losses.clear()

        def before_forward(self, stage: Any) -> None:
            self.target = stage["batch"]["target"]["class_id"]

        def after_forward(self, stage: Any) -> None:
            again = torch.nn.functional.cross_entropy(stage["outputs"]["output"], self.target)
            torch.testing.assert_close(stage["loss"], again)
            losses.extend([float(again.detach())] * len(self.target))

        def after_step(self, stage: Any) -> None:
            mean = sum(losses) / len(losses)
            assert stage["meters"].compute()["loss"] == pytest.approx(mean, rel=1e-5)

    toy_trainer([Look()], meters=[LossMeter()]).train(2)


@pytest.mark.seed("S0-85", "S0-86")
def test_before_backward_may_replace_the_loss() -> None:
    class Double(BaseHook):
        def before_backward(self, stage: Any) -> None:
            assert stage["loss"].requires_grad
            stage["loss"] = stage["loss"] * 0.0

    trainer = toy_trainer([Double()], val=False)
    trainer.train(1)
    gradients = [p.grad for p in trainer.model.parameters()]
    assert all(float(one.abs().max()) == 0.0 for one in gradients)


@pytest.mark.seed("S0-87", "S0-88", "S0-89")
def test_gradients_are_there_can_be_clipped_and_parameters_change() -> None:
    norms: list[float] = []

    class Watch(BaseHook):
        def before_forward(self, stage: Any) -> None:
            self.before = None

        def after_backward(self, stage: Any) -> None:
            assert all(p.grad is not None for p in stage["model"].parameters())
            self.before = [p.detach().clone() for p in stage["model"].parameters()]

        def before_optimize(self, stage: Any) -> None:
            torch.nn.utils.clip_grad_norm_(stage["model"].parameters(), 1e-3)

        def after_optimize(self, stage: Any) -> None:
            total = torch.stack([p.grad.norm() for p in stage["model"].parameters()]).norm()
            norms.append(float(total))
            after = list(stage["model"].parameters())
            assert self.before is not None
            assert any(not torch.equal(a, b) for a, b in zip(self.before, after, strict=True))

    toy_trainer([Watch()], val=False).train(1)
    assert len(norms) == 4
    assert max(norms) <= 1.001e-3


@pytest.mark.seed("S0-90", "S0-91")
def test_metrics_are_in_the_context_after_evaluation(tmp_path: Path) -> None:
    seen = []

    class Look(BaseHook):
        def before_eval(self, stage: Any) -> None:
            assert stage["phase"] == "val"

        def after_eval(self, stage: Any) -> None:
            seen.append(dict(stage["context"].get("val_metrics")))

    trainer = toy_trainer([Look()], meters=[LossMeter(), AccuracyMeter()])
    trainer.train(2)
    assert len(seen) == 2
    assert set(seen[0]) == {"val/loss", "val/accuracy"}
    assert seen[0] != seen[1]


@pytest.mark.seed("S0-92", "S0-93")
def test_saving_fires_around_the_file_with_its_path(tmp_path: Path) -> None:
    events = []

    class Look(BaseHook):
        def before_save(self, stage: Any) -> None:
            events.append(("before", stage["checkpoint_path"], stage["checkpoint_path"].exists()))

        def after_save(self, stage: Any) -> None:
            events.append(("after", stage["checkpoint_path"], stage["checkpoint_path"].exists()))

    class SaveOneFileAgain(BaseHook):
        def after_epoch(self, stage: Any) -> None:
            stage.trainer.request_save(tmp_path / "same.pth")

    hooks = [Look(), SaveEachEpoch(tmp_path), SaveOneFileAgain()]
    toy_trainer(hooks, run=new_run(tmp_path)).train(2)
    one, two, same = (tmp_path / name for name in ("1.pth", "2.pth", "same.pth"))
    assert events == [
        *(("before", same, False), ("before", one, False)),
        *(("after", same, True), ("after", one, True)),
        *(("before", same, True), ("before", two, False)),
        *(("after", same, True), ("after", two, True)),
    ]


def test_rank_then_list_order() -> None:
    def hook(name: str, rank: Rank) -> BaseHook:
        made = type(name, (BaseHook,), {"rank": rank, "after_step": lambda self, stage: None})()
        made.name = name
        return made

    table = compile_table(
        [
            hook("save", Rank.SAVE),
            hook("b", Rank.DECIDE),
            hook("a", Rank.DECIDE),
            hook("first", Rank.UPDATE),
        ]
    )
    names = [listener.__self__.name for listener in table.after_step]
    assert names == ["first", "b", "a", "save"]
    assert table.before_step == ()


def test_inherited_empty_methods_are_no_subscriptions() -> None:
    table = compile_table([BaseHook()])
    assert not any(table.listeners(point) for point in POINTS)


def test_meters_see_the_batch_that_went_forward() -> None:
    class FirstTwo(BaseHook):
        def before_forward(self, stage: Any) -> None:
            batch = stage["batch"]
            stage["batch"] = {
                "x": batch["x"][:2],
                "target": {"class_id": batch["target"]["class_id"][:2]},
                "meta": {"index": batch["meta"]["index"][:2]},
            }

    trainer = toy_trainer([FirstTwo()], meters=[AccuracyMeter()])
    assert set(trainer.train(1)) == {"train/accuracy", "val/accuracy"}
    assert trainer.clock.samples == 8
