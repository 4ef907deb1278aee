"""OpenVINO's folder: what it holds, and that its package reports to nobody from here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cvtrainer.deploy.artefact import files_of
from cvtrainer.deploy.targets.target import target_named
from tests.deploy.targets.small import program

pytestmark = pytest.mark.long
openvino = pytest.importorskip("openvino")

WATCHED = """
import os, sys
told = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        os.write(told, f"{event} {arguments[-1]}\\n".encode())
        raise OSError("blocked")

sys.addaudithook(watch)
"""
EXPORT = """
from pathlib import Path
import torch
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.program import Deployable, captured
from cvtrainer.deploy.runtime.runner import runner_of
from cvtrainer.deploy.targets.target import target_named
network = torch.nn.Conv2d(3, 2, 3)
program = captured(
    Deployable(network, lambda x: {"y": network(x)}, ("y",)), torch.rand(2, 3, 8, 8)
)
target_named("openvino").export(program, Path("model"))
contract = Contract("openvino", "fp32", program.input, program.outputs, InputSpec())
print(runner_of(Path("model"), contract)(torch.rand(3, 3, 8, 8).numpy())["y"].shape)
"""


def watched(code: str, folder: Path) -> tuple[str, str, list[str]]:
    """What a program prints, whom it asked for, and what it left in its home."""
    home = folder / "home"
    home.mkdir()
    kept = {key: value for key, value in os.environ.items() if key not in ("CI", "TF_BUILD")}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED + code, str(folder / "asked")],
        cwd=folder,
        env={**kept, "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    left = sorted(one.name for one in home.rglob("*"))
    return done.stdout + done.stderr, (folder / "asked").read_text(), left


@pytest.mark.seed("S4-25")
def test_an_export_and_a_run_report_to_nobody(tmp_path: Path) -> None:
    printed, asked, left = watched(EXPORT, tmp_path)
    assert (printed, asked, left) == ("(3, 2, 6, 6)\n", "", [])


@pytest.mark.seed("S4-38")
def test_eight_bits_are_eight_bits_in_the_file(tmp_path: Path) -> None:
    sizes = {}
    for precision in ("fp32", "int8"):
        path = tmp_path / f"model-{precision}"
        target_named("openvino").export(program("classifier", precision), path)
        assert set(files_of(path)) == {"/model.xml", "/model.bin"}
        opened = openvino.Core().read_model(path / "model.xml")
        assert [one.get_any_name() for one in opened.outputs] == ["output", "class_id"]
        assert opened.inputs[0].get_partial_shape().to_string() == "[?,3,32,32]"
        weights = [
            one.get_element_type().get_type_name()
            for one in opened.get_ops()
            if one.get_type_name() == "Constant"
            and len(one.get_output_shape(0)) >= 4
            and min(one.get_output_shape(0)[:2]) > 1
        ]
        assert set(weights) == ({"i8"} if precision == "int8" else {"f32"}), weights
        sizes[precision] = (path / "model.bin").stat().st_size
    assert sizes["int8"] < sizes["fp32"]
