"""What a target cannot express is told by operator, module and source line, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.program import Deployable, Program, captured
from cvtrainer.deploy.targets.target import target_named
from cvtrainer.deploy.unsupported import unsupported

LACKED = {
    "onnx": "special_bessel_j0",
    "litert": "special_bessel_j0",
    "ncnn": "fft_rfft2",
    "coreml": "cummax",
    "tensorrt": "erfinv",
}
NEEDS = {"litert": ("litert_torch",), "ncnn": ("pnnx", "ncnn"), "coreml": ("coremltools",)}


class Odd(nn.Module):
    """What few have."""

    def __init__(self, operator: str) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, x: Tensor) -> Tensor:
        if self.operator == "special_bessel_j0":
            return torch.special.bessel_j0(x)
        if self.operator == "fft_rfft2":
            return torch.fft.rfft2(x).abs()
        if self.operator == "cummax":
            return torch.cummax(x, 3)[0]
        return torch.erfinv(x.clamp(-0.9, 0.9))


def network_with(operator: str, *, twice: bool = False) -> Program:
    head = nn.Sequential(nn.ReLU(), Odd(operator), Odd(operator) if twice else nn.Identity())
    network = nn.Sequential(nn.Conv2d(3, 4, 3), head, nn.Conv2d(4, 2, 1))
    module = Deployable(network, lambda x: {"output": network(x)}, ("output",))
    return captured(module, torch.rand(2, 3, 8, 8), any_batch=False)


def line_of(word: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if f"return {word}" in line)


@pytest.mark.long
@pytest.mark.parametrize("target", list(LACKED))
def test_the_module_and_its_line_are_named(
    target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for module in NEEDS.get(target, ()):
        pytest.importorskip(module)
    capfd.readouterr()
    operator = LACKED[target]
    called = {"special_bessel_j0": "torch.special", "fft_rfft2": "torch.fft"}
    line = line_of(called.get(operator, f"torch.{operator}"))
    program = network_with(operator)
    with pytest.raises(UserError) as caught:
        target_named(target).export(program, tmp_path / "model")
    first = "onnx" if target == "tensorrt" else target
    place = f"of the module 1.1, tests/deploy/test_unsupported.py:{line}"
    assert str(caught.value).startswith(f"{first} cannot express {operator} {place}")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()
    assert capfd.readouterr() == ("", "")


def test_more_places_are_counted_and_other_reasons_kept() -> None:
    program = network_with("erfinv", twice=True)
    told = str(unsupported("it", program, "Lowering not found: aten.erfinv.default"))
    assert "erfinv of the module 1.1, tests/deploy/" in told
    assert ", and 1 more like it. Write it in other operators" in told
    deeper = ValueError("only for \x1b[31mtwo\x1b[0m axes.\nmore")
    above = RuntimeError("While executing call_function[target=torch.ops.aten.erfinv.default]")
    above.__cause__ = deeper
    assert "like it (only for two axes). " in str(unsupported("it", program, above))
    assert str(unsupported("it", program, "no room")) == "it cannot express this network: no room"
    place = f'File "{__file__}", line {line_of("torch.erfinv")}, in forward'
    assert "cannot express clamp of the module 1.1" in str(unsupported("it", program, place))


def test_what_the_task_reads_is_no_module() -> None:
    network = nn.Conv2d(3, 4, 3)

    def compute(x: Tensor) -> dict[str, Tensor]:
        return {"output": torch.erfinv(network(x))}

    program = captured(Deployable(network, compute, ("output",)), torch.rand(2, 3, 8, 8))
    told = str(unsupported("it", program, "no layer for aten::erfinv"))
    assert "erfinv of what the task reads in the outputs. Write" in told
