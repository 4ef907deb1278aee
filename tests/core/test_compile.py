"""The whole way of a config: what comes out, what it costs, and that torch stays out of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors
from cvtrainer.core.json_schema import json_schema
from cvtrainer.core.locate import import_target
from cvtrainer.core.schema import SECTIONS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "tests/fixtures/document_000/apps/my_project/train.yaml"
MEASURE = """
import resource, sys
from cvtrainer.core.compile import compile_config
compile_config(sys.argv[1])
heavy = {"torch", "torchvision", "albumentations", "numpy", "timm", "cv2", "rich"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert "apps.my_project.model" not in sys.modules
usage = resource.getrusage(resource.RUSAGE_SELF)
print(usage.ru_utime + usage.ru_stime)
"""


def test_checking_document_000_is_fast_and_imports_neither_torch_nor_user_code():
    times = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(DOCUMENT)],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        times.append(float(done.stdout))
    assert min(times) <= 0.6, times


def test_a_python_mapping_is_a_config_too():
    config = {
        "model": "torch.nn.Identity",
        "optimizer": {"type": "SGD", "lr": 0.1},
        "dataloader": {"train": {"dataset": {"data_path": "x"}}},
    }
    compiled = compile_config(config, ["epochs=2", "optimizer.lr=0.5"])
    assert compiled.path is None
    stage = compiled.resolved["stages"][0]
    assert (stage["epochs"], stage["optimizer"]["kwargs"]["lr"]) == (2, 0.5)
    assert config["optimizer"] == {"type": "SGD", "lr": 0.1}
    with pytest.raises(ConfigErrors) as caught:
        compile_config({**config, "epoch": 3})
    assert str(caught.value).startswith("<python>  stages.train.epoch: unknown key")


def test_flags_are_named_as_the_place_of_their_mistakes():
    with pytest.raises(ConfigErrors) as caught:
        compile_config(DOCUMENT, ["hooks.ema.decay=often", "optimizer.lr=11"])
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 2
    assert all(text.startswith("<command line>  ") for text in told)


def test_without_the_check_only_what_cannot_be_understood_is_told(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("model: torch.nn.Identity\nepochs: many\n")
    assert compile_config(path, check=False).resolved["stages"][0]["epochs"] == "many"
    with pytest.raises(ConfigErrors):
        compile_config(path)


def test_what_eval_needs_is_less_than_what_training_needs(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("model: torch.nn.Identity\ndataloader: {val: {dataset: {data_path: x}}}\n")
    compile_config(path, purpose="eval")
    with pytest.raises(ConfigErrors) as caught:
        compile_config(path)
    assert len(caught.value.problems) == 2


def test_includes_that_lead_nowhere_come_with_everything_else(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(
        "model: torch.nn.Identity\n"
        "optimizer: !include gone.yaml\n"
        "dataloader: {train: {dataset: {data_path: x}}}\n"
        "hooks: [{type: ema, kwargs: {decya: 0.9}}]\n"
    )
    with pytest.raises(ConfigErrors) as caught:
        compile_config(path)
    assert [problem.mark.line for problem in caught.value.problems] == [2, 4]


def test_the_resolved_tree_is_the_callers_own():
    first = compile_config(DOCUMENT)
    first.resolved["stages"][0]["optimizer"]["kwargs"]["lr"] = 5
    assert compile_config(DOCUMENT).resolved["stages"][0]["optimizer"]["kwargs"]["lr"] == 0.001


@pytest.mark.seed("S0-30")
def test_the_demo_names_its_own_data_adapter(monkeypatch):
    monkeypatch.chdir(ROOT)
    stage = compile_config("cifar10_demo/train.yaml").resolved["stages"][0]
    node = stage["dataloader"]["train"]["dataset"]
    assert node["type"] == "apps.cifar10_demo.dataset:CIFAR10DataAdapter"
    dataset = import_target(node["type"])(**node["kwargs"])
    assert type(dataset).__name__ == "CIFAR10DataAdapter"
    assert node["kwargs"]["split"] == "train"
    assert len(dataset) > 0


def test_the_json_schema_names_every_key_of_the_skeleton():
    schema = json.loads(json.dumps(json_schema()))
    run, definitions = schema["then"], schema["$defs"]
    assert set(SECTIONS["run"]) <= set(run["properties"])
    for name in set(SECTIONS) - {"run"}:
        assert set(SECTIONS[name]) <= set(definitions[name]["properties"])
        assert definitions[name]["additionalProperties"] is False
    hooks = definitions["node_hook"]["anyOf"][0]["anyOf"][0]["enum"]
    assert "ema" in hooks
    references = set()

    def walk(value):
        if isinstance(value, dict):
            references.update([value["$ref"]] if "$ref" in value else [])
            for part in value.values():
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)

    walk(schema)
    assert {reference.rpartition("/")[2] for reference in references} <= set(definitions)
