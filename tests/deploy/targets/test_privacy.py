"""Exporting and running tells nobody: no look-up, no connection, no name given to the machine.

What a library does in C++ is not seen by Python's hooks. ONNX Runtime's part that reports begins
with files in the home folder, and there must be none. On machines of a CI both say nothing anyway,
so the program is given an environment that does not look like one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

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
NAME = sys.argv[2]
network = torch.nn.Conv2d(3, 2, 3)
program = captured(
    Deployable(network, lambda x: {"y": network(x)}, ("y",)), torch.rand(2, 3, 8, 8)
)
target_named(NAME).export(program, Path("model"))
contract = Contract(NAME, "fp32", program.input, program.outputs, InputSpec())
print(runner_of(Path("model"), contract)(torch.rand(3, 3, 8, 8).numpy())["y"].shape)
"""


def watched(target: str, folder: Path) -> tuple[str, str, list[str]]:
    """What a program prints, whom it asked for, and what it left in its home."""
    home = folder / "home"
    home.mkdir()
    kept = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED + EXPORT, str(folder / "asked"), target],
        cwd=folder,
        env={**kept, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    left = sorted(one.name for one in home.rglob("*"))
    return done.stdout + done.stderr, (folder / "asked").read_text(), left


@pytest.mark.parametrize(("target", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_an_export_and_a_run_report_to_nobody(target: str, package: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    printed, asked, left = watched(target, tmp_path)
    assert (printed, asked, left) == ("(3, 2, 6, 6)\n", "", [])
