"""AOTInductor: what it makes of rounded programs can be run, and gives their numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.program import Deployable, captured
from cvtrainer.deploy.quantize.ptq import quantised
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.runtime.runner import runner_of
from cvtrainer.deploy.targets.inductor import InductorTarget

pytest.importorskip("torchao")


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_pool_of_eight_bits_runs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3))
    network.eval()
    x = torch.randn(2, 3, 12, 12)
    float_one = captured(Deployable(network, lambda one: {"y": network(one)}, ["y"]), x)
    program = quantised(float_one, [x], Scheme())
    artefact = tmp_path / "model.pt2"
    InductorTarget().export(program, artefact)
    contract = Contract("torch", "int8", program.input, program.outputs, InputSpec())
    made = runner_of(artefact, contract)(x.numpy())["y"]
    with torch.no_grad():
        assert np.abs(made - program.exported.module()(x)[0].numpy()).max() < 1e-5
