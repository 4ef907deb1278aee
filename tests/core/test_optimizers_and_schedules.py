"""Optimizers and schedules of a config are checked down to their inner words, one or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors

BASE: dict[str, Any] = {
    "epochs": 3,
    "model": {"type": "torch.nn.Linear", "in_features": 2, "out_features": 3},
    "criterion": "torch.nn.CrossEntropyLoss",
    "optimizer": {"type": "AdamW", "lr": 0.001},
    "dataloader": {"train": {"dataset": {"data_path": "data"}}},
}
TWO = {
    "generator": {"type": "Adam", "lr": 0.002, "groups": {"no_decay": ["bias"]}},
    "discriminator": {"type": "SGD", "lr": 0.01, "momentum": 0.9},
}


def compiled(folder: Path, *overrides: str, **words: Any) -> Any:
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump({**BASE, **words}, sort_keys=False))
    return compile_config(path, overrides)


def told(folder: Path, *overrides: str, **words: Any) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        compiled(folder, *overrides, **words)
    for problem in caught.value.problems:
        assert problem.mark is not None
        assert problem.mark.line > 0
    return [str(problem) for problem in caught.value.problems]


def schedule(kind: str, **words: Any) -> dict[str, Any]:
    node = {"type": "lr_scheduler", "scheduler_type": kind, "scheduler_kwargs": words}
    return {"hooks": [node]}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            {"no_dekay": ["bias"]},
            "optimizer.groups.no_dekay: a grouping takes no such argument. Did",
        ),
        ({"no_decay": ["bais"]}, "must be one of norm, bias, not ['bais']"),
        ({"no_decay": "norms"}, "must be one of norm, bias, not 'norms'. Did you mean norm?"),
        ({"layer_decay": 1.5}, "1.5 is not above 0 and at most 1"),
        ({"layer_decay": "0.5x"}, "layer_decay: must be a number or null"),
        ({"bias_lr": [1]}, "bias_lr: must be a number or null"),
        ("norm", "must be a mapping"),
    ],
)
def test_the_words_of_groups_are_checked(tmp_path: Path, groups: Any, message: str) -> None:
    (problem,) = told(tmp_path, optimizer={"type": "SGD", "lr": 0.1, "groups": groups})
    assert message in problem
    assert problem.startswith(f"{tmp_path / 'train.yaml'}:")


@pytest.mark.parametrize(
    ("warmup", "message"),
    [
        ({"stps": 3}, "scheduler_kwargs.warmup.stps: a warm-up takes no such argument. Did you"),
        ({"steps": 3, "methot": "constant"}, "Did you mean method?"),
        ({"steps": 3, "method": "quick"}, "must be one of linear, constant, not 'quick'"),
        ({"steps": 3, "epochs": 1}, "steps says how long it is already; keep one"),
        ({"steps": -3}, "must not be negative, as -3 is"),
        ({"length": "3 weeks"}, "'3 weeks' is no duration; write 5%, 3ep, 500st"),
        ("150%", "more than the whole run"),
        ([3], "is no duration"),
    ],
)
def test_the_words_of_a_warm_up_are_checked(tmp_path: Path, warmup: Any, message: str) -> None:
    (problem,) = told(tmp_path, **schedule("cosine", warmup=warmup))
    assert message in problem


@pytest.mark.parametrize("warmup", ["5%", "2ep", "500st", 3, 0.5, {"length": "5%", "delay": True}])
def test_a_right_warm_up_is_no_problem(tmp_path: Path, warmup: Any) -> None:
    made = compiled(tmp_path, **schedule("linear", warmup=warmup))
    (hook,) = made.resolved["stages"][0]["hooks"]
    assert hook["kwargs"]["scheduler_kwargs"]["warmup"] == warmup


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"warmup_steps": "soon"}, "warmup_steps: 'soon' is no duration"),
        ({"warmup_steps": "5%", "fnal": 0.1}, "Did you mean final?"),
    ],
)
def test_short_warm_ups_take_durations_too(tmp_path: Path, words: Any, message: str) -> None:
    (problem,) = told(tmp_path, **schedule("warmup_cosine", **words))
    assert message in problem


INNER = {"scheduler_type": "LinearLR", "scheduler_kwargs": {"start_factor": 0.1}}


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ({"scheduler_type": "LinearRL"}, "there is no scheduler called 'LinearRL'. Did you"),
        ({**INNER, "scheduler_kwarg": {}}, "Did you mean scheduler_kwargs?"),
        ({"scheduler_kwargs": {}}, "an inner schedule needs a `scheduler_type`"),
        ("LinearLR", "write {scheduler_type: NAME, scheduler_kwargs: {…}}, not 'LinearLR'"),
        (
            {"scheduler_type": "StepLR", "scheduler_kwargs": {"step_sice": 1}},
            "schedulers.1.scheduler_kwargs.step_sice",
        ),
    ],
)
def test_schedules_inside_schedules_are_checked(tmp_path: Path, inner: Any, message: str) -> None:
    words = {"schedulers": [INNER, inner], "milestones": [3]}
    (problem,) = told(tmp_path, **schedule("SequentialLR", **words))
    assert message in problem


def test_a_function_that_is_not_there_is_told(tmp_path: Path) -> None:
    (problem,) = told(tmp_path, **schedule("LambdaLR", lr_lambda="statistics:meen"))
    assert "lr_lambda" in problem
    compiled(tmp_path, **schedule("LambdaLR", lr_lambda="statistics:mean"))


def test_each_update_may_have_its_optimizer(tmp_path: Path) -> None:
    made = compiled(tmp_path, "optimizer.generator.lr=0.004", optimizer=TWO)
    (stage,) = made.resolved["stages"]
    assert stage["optimizer"] == {
        "generator": {
            "type": "torch.optim:Adam",
            "kwargs": {"lr": 0.004},
            "layerwise": {},
            "groups": {"no_decay": ["bias"]},
        },
        "discriminator": {
            "type": "torch.optim:SGD",
            "kwargs": {"lr": 0.01, "momentum": 0.9},
            "layerwise": {},
        },
    }
    again = compile_config(made.resolved)
    assert again.resolved == made.resolved


def test_several_optimizers_are_checked_like_one(tmp_path: Path) -> None:
    wrong = {
        "generator": {"type": "Adm", "lr": 0.1},
        "discriminator": {
            "type": "SGD",
            "lr": 20,
            "momentun": 0.9,
            "groups": {"layer_dcay": 0.5},
            "layerwise": {"head": 11},
        },
    }
    problems = "\n".join(told(tmp_path, optimizer=wrong))
    for text in (
        "optimizer.generator.type: there is no optimizer called 'Adm'. Did you mean Adam?",
        "optimizer.discriminator.kwargs.lr: a learning rate of 20",
        "Did you mean momentum?",
        "Did you mean layer_decay?",
        "optimizer.discriminator.layerwise.head: a learning rate of 11",
    ):
        assert text in problems
    assert len(problems.splitlines()) == 5


def test_an_optimizer_of_several_can_be_taken_out(tmp_path: Path) -> None:
    made = compiled(tmp_path, "optimizer.discriminator=null", optimizer=TWO)
    assert list(made.resolved["stages"][0]["optimizer"]) == ["generator"]
    none = {"generator": {**TWO["generator"], "enabled": False}}
    (problem,) = told(tmp_path, optimizer=none)
    assert "training needs an `optimizer`" in problem


@pytest.mark.parametrize(
    "node",
    [{"tpye": "SGD", "lr": 0.1}, {"tpye": "SGD", "layerwise": {"head": 0.1}}, {"generator": "SGD"}],
)
def test_a_slip_is_not_taken_for_several(tmp_path: Path, node: Any) -> None:
    problems = told(tmp_path, optimizer=node)
    assert any("type" in problem for problem in problems)


def test_a_word_for_all_of_several_is_told_where_it_stands(tmp_path: Path) -> None:
    (problem,) = told(tmp_path, "optimizer.lr=0.1", optimizer=TWO)
    assert "optimizer.lr: a name or a mapping with `type` is expected" in problem
    assert "<command line>" in problem
