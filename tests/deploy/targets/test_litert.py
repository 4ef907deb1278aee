"""LiteRT files: floats as the network gives them, 8-bit numbers as our own rounding gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.runtime.runner import Arrays, runner_of
from cvtrainer.deploy.targets.target import target_named
from tests.deploy.targets.decided import decibels, decisions, expected
from tests.deploy.targets.small import RAW, contract_of, pictures, program

pytest.importorskip("litert_torch")
pytest.importorskip("ai_edge_quantizer")
litert = pytest.importorskip("cvtrainer.deploy.targets.litert")


def run(kind: str, path: Path) -> Arrays:
    narrow = program(kind).narrowed(RAW[kind], any_batch=False)
    return runner_of(path, contract_of("litert", narrow))(pictures(12, seed=2).numpy())


@pytest.mark.long
@pytest.mark.seed("S4-38")
@pytest.mark.parametrize("kind", list(RAW))
def test_floats_and_rounded_numbers_decide_as_the_network(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plain, path = tmp_path / "plain", tmp_path / "model.tflite.unproven"
    target_named("litert").export(program(kind).narrowed(RAW[kind], any_batch=False), plain)
    told, made = expected(kind), run(kind, plain)
    for name in RAW[kind]:
        np.testing.assert_allclose(made[name], told[name], rtol=0, atol=1e-5, err_msg=name)
    assert decisions(kind, made) == decisions(kind, told)
    sizes = []
    for per_channel in (True, False):
        path.write_bytes(litert.rounded(plain, [pictures(8)], Scheme(per_channel=per_channel)))
        made = run(kind, path)
        sizes.append(path.stat().st_size)
        for name in RAW[kind]:
            assert decibels(told, made, name) > 15, (name, per_channel)
        if kind == "detector":
            places = made["anchors"], told["anchors"]  # constants behind the last layers
            np.testing.assert_array_equal(*places)
        if kind == "classifier":
            alike = np.mean(made["output"].argmax(1) == told["output"].argmax(1))
            assert alike >= 0.9
    assert sizes[1] < sizes[0], "a scale for each channel takes room"
    assert capfd.readouterr() == ("", "")


@pytest.mark.long
def test_the_calibrator_sets_the_ranges(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    whole = program("classifier").narrowed(RAW["classifier"], any_batch=False)
    target_named("litert").export(whole, plain)
    sample = [pictures(8)]
    sample[0][0, 0, 0, 0] = 40.0
    ranges = {
        method: litert._ranges(plain, sample[0].split(1), Scheme(method=method))
        for method in ("max", "percentile")
    }
    first = next(iter(ranges["max"]))
    assert float(ranges["max"][first]["max"].max()) == 40.0
    assert float(ranges["percentile"][first]["max"].max()) < 2.0
    with pytest.raises(UserError, match="calibration sample is empty"):
        litert.rounded(plain, [], Scheme())


def test_a_damaged_artefact_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"not a graph")
    with pytest.raises(UserError, match=r"model\.tflite: LiteRT cannot open it: ") as caught:
        run("classifier", path)
    assert "\n" not in str(caught.value)
