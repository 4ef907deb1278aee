"""Core ML packages are converted here and not run: their form is compared instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.runtime.runner import runner_of
from cvtrainer.deploy.targets.target import CheckingTarget, target_named
from tests.deploy.targets.small import RAW, contract_of, program
from tests.deploy.targets.test_rewrites import program as up_again

pytest.importorskip("coremltools")


@pytest.mark.long
@pytest.mark.parametrize("kind", list(RAW))
def test_a_package_has_the_ports_and_layers_of_the_network(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = cast(CheckingTarget, target_named("coreml"))
    whole = program(kind).narrowed(RAW[kind], any_batch=False)
    named = replace(whole, input=replace(whole.input, name="picture"), precision="fp16")
    path = tmp_path / "model.mlpackage.unproven"
    target.export(named, path)
    checked = target.check(named, path)
    assert checked.failures == ()
    assert checked.stand_in is None
    assert checked.told["layers"] >= 3
    assert target.check(whole, path).failures[0].startswith("x is None, in the trained model (1,")
    assert capfd.readouterr() == ("", "")
    contract: Contract = contract_of("coreml", whole)
    with pytest.raises(UserError, match="artefacts of coreml do not run here"):
        runner_of(path, contract)


@pytest.mark.long
def test_other_layers_are_told(tmp_path: Path) -> None:
    target = cast(CheckingTarget, target_named("coreml"))
    one, two = (
        program(kind).narrowed(RAW[kind], any_batch=False) for kind in ("classifier", "segmenter")
    )
    path = tmp_path / "model.mlpackage"
    target.export(one, path)
    failures = target.check(two, path).failures
    assert "a linear with weights [5, 8] is there 1 times, in the trained model 0" in failures
    assert any(one.startswith("output is (1, 5), in the trained model (1, 3,") for one in failures)


@pytest.mark.long
def test_a_cut_that_cuts_nothing_off_is_converted(tmp_path: Path) -> None:
    target = cast(CheckingTarget, target_named("coreml"))
    whole, path = up_again()[1], tmp_path / "model.mlpackage"
    target.export(whole, path)
    assert target.check(whole, path).failures == ()
