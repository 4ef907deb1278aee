"""`init_from` and `resume` in a config: their spellings, and what is told of mistakes in them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors
from cvtrainer.core.json_schema import json_schema
from cvtrainer.core.yaml_form import dump

STAGE = {
    "model": "torch.nn.Identity",
    "optimizer": {"type": "Adam", "lr": 0.001},
    "dataloader": {"train": {"dataset": {"data_path": "data/train"}}},
}
FULL = {
    "source": "previous",
    "strict": True,
    "networks": None,
    "remove_prefix": None,
    "add_prefix": None,
    "rename": None,
    "only": None,
    "skip": None,
    "averaged": None,
    "convert_stem": False,
}


def config(init_from: Any, **run: Any) -> dict[str, Any]:
    first = {**copy.deepcopy(STAGE), "name": "warm"}
    second = {**copy.deepcopy(STAGE), "name": "tune", "init_from": init_from}
    return {"stages": [first, second], **run}


def read(init_from: Any, *overrides: str) -> Any:
    return compile_config(config(init_from), overrides).resolved["stages"][1]["init_from"]


@pytest.mark.seed("S0-19")
def test_a_word_is_the_source_and_the_normal_form_reloads_to_itself() -> None:
    assert read("previous") == read({"source": "previous"}) == FULL
    assert read(None) is None
    assert read("warm")["source"] == "warm"
    whole = compile_config(config({"source": "warm", "skip": "head", "strict": False})).resolved
    assert whole["stages"][1]["init_from"]["skip"] == "head"
    assert compile_config(yaml.safe_load(dump(whole))).resolved == whole


def test_overrides_reach_into_it_however_it_is_written() -> None:
    for written in ("previous", {"source": "previous"}):
        found = read(written, "stages.tune.init_from.strict=false")
        assert found == {**FULL, "strict": False}
    assert read("previous", "stages.tune.init_from=weights.pth")["source"] == "weights.pth"
    assert read({"source": "warm", "strict": False}, "stages.tune.init_from=null") is None
    assert read(None, "stages.tune.init_from.source=warm") == {**FULL, "source": "warm"}


@pytest.mark.parametrize(
    ("written", "path", "told", "suggestion"),
    [
        ("wram", "init_from.source", "no earlier stage (known: warm, previous)", "warm"),
        ({"source": "tune"}, "init_from.source", "no earlier stage", None),
        ({"strict": False}, "init_from", "say where the weights come from", None),
        ({"source": "warm", "strikt": False}, "init_from.strikt", "unknown key", "strict"),
        ({"source": "warm", "strict": "no"}, "init_from.strict", "true or false", None),
        ({"source": "warm", "skip": 3}, "init_from.skip", "a list of texts", None),
        ({"source": "warm", "rename": ["a"]}, "init_from.rename", "a mapping", None),
        ({"source": "warm", "rename": {"a": 3}}, "init_from.rename.a", "must be a text", None),
        ({"source": "warm", "rename": {"a.*": "b.*.*"}}, "init_from.rename", "more *", None),
        ({"source": "warm", "networks": {"m": None}}, "init_from.networks.m", "a text", None),
        (["warm"], "init_from", "is a mapping", None),
    ],
)
def test_mistakes(written: Any, path: str, told: str, suggestion: str | None) -> None:
    with pytest.raises(ConfigErrors) as caught:
        compile_config(config(written))
    (problem,) = caught.value.problems
    assert path in problem.path
    assert told in problem.what
    assert problem.suggestion == suggestion


def test_the_first_stage_has_no_previous_one() -> None:
    with pytest.raises(ConfigErrors, match="the first stage has no previous one"):
        compile_config({**STAGE, "init_from": {"source": "previous"}})


@pytest.mark.seed("S1-37")
def test_resume_and_resume_lr() -> None:
    resolved = compile_config(config(None)).resolved
    assert (resolved["resume"], resolved["resume_lr"]) == (None, "keep")
    for rate in ("keep", "initial", 0.1, 1):
        assert compile_config(config(None, resume_lr=rate)).resolved["resume_lr"] == rate
    assert compile_config(config(None, resume="auto")).resolved["resume"] == "auto"
    for wrong in ("kept", 0, -1.0, True):
        with pytest.raises(ConfigErrors, match="resume_lr: must be keep, initial or a learning"):
            compile_config(config(None, resume_lr=wrong))
    with pytest.raises(ConfigErrors, match="resume: must be a text"):
        compile_config(config(None, resume=3))


def test_editors_take_both_spellings() -> None:
    schema = json_schema()
    value, *_ = schema["$defs"]["stage"]["properties"]["init_from"]["anyOf"]
    assert value == {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/init_from"}]}
    assert set(schema["$defs"]["init_from"]["properties"]) == set(FULL)
    assert "resume_lr" in schema["then"]["properties"]
