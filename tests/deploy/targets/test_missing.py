"""What is not installed is named with the line that installs it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.contract import Contract, Port
from cvtrainer.deploy.runtime.runner import RUN_BY, RUNTIMES, can_run, runner_of
from cvtrainer.deploy.targets import target as targets


@pytest.mark.parametrize("name", sorted(set(targets.TARGETS) - {"torch"}))
def test_a_target_whose_packages_are_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "find_spec", lambda _: None)
    with pytest.raises(
        UserError, match=rf"the target {name} needs .*pip install .cvtrainer\[\w+\]"
    ):
        targets.target_named(name)


@pytest.mark.parametrize(
    ("target", "package"),
    [("onnx", "onnxruntime"), ("openvino", "openvino"), ("executorch", "executorch.runtime")],
)
def test_a_runtime_that_is_missing(
    target: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in [one for one in sys.modules if one.split(".")[0] == package.split(".")[0]]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, package.split(".")[0], None)
    contract = Contract(target, "fp32", Port("x", "float32", (1, 3, 8, 8)), (), InputSpec())
    with pytest.raises(UserError, match=rf'pip install "cvtrainer\[{target}\]"'):
        runner_of(tmp_path, contract)


def test_what_runs_here_is_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(RUNTIMES) == set(RUN_BY)
    assert can_run("onnx") == (find_spec("onnxruntime") is not None)
    monkeypatch.setitem(RUN_BY, "onnx", ("no_such_module",))
    assert not can_run("onnx")
    assert not can_run("coreml")
