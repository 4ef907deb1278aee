"""Several criteria by name: factors, parts that are reported, fields bound once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors, UserError
from cvtrainer.engine.criteria import Criteria, Criterion
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.experiment import Experiment
from cvtrainer.protocols import Outputs


class TwoHeads(nn.Module):
    """A class and an angle from the same features."""

    def __init__(self) -> None:
        super().__init__()
        self.kind = nn.Linear(4, 3)
        self.angle = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"kind": self.kind(x), "angle": self.angle(x).squeeze(1)}


def batch() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    return {
        "x": torch.randn(5, 4, generator=generator),
        "target": {
            "label": torch.tensor([0, 1, 2, 1, 0]),
            "degrees": torch.randn(5, generator=generator),
        },
    }


def criteria() -> Criteria:
    return Criteria(
        {
            "kind": Criterion(nn.CrossEntropyLoss(), 10.0, {"input": "kind", "target": "label"}),
            "angle": Criterion(nn.MSELoss(), 1.0, {"input": "angle", "target": "degrees"}),
        }
    )


@pytest.mark.seed("S2-73", "S2-74", "S2-75", "S2-79", "S2-83", "S3-36")
def test_the_loss_is_the_sum_and_parts_are_reported_as_they_are() -> None:
    torch.manual_seed(0)
    model, data = TwoHeads(), batch()
    result = SupervisedTask(model, criteria()).compute(data)
    made = model(data["x"])
    kind = functional.cross_entropy(made["kind"], data["target"]["label"])
    angle = functional.mse_loss(made["angle"], data["target"]["degrees"])
    assert torch.equal(result.loss, kind * 10.0 + angle)
    assert torch.equal(result.losses["kind"], kind)
    assert torch.equal(result.losses["angle"], angle)


def test_parts_of_a_part_have_both_names() -> None:
    class Parted(nn.Module):
        def forward(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
            return {"near": output.sum() * 0 + 1.0, "far": output.sum() * 0 + 2.0}

    part = Criterion(Parted(), 2.0, {"output": "angle", "target": "degrees"})
    result = SupervisedTask(TwoHeads(), Criteria({"place": part})).compute(batch())
    assert float(result.loss.detach()) == 6.0
    assert {name: float(value.detach()) for name, value in result.losses.items()} == {
        "place": 3.0,
        "place_near": 1.0,
        "place_far": 2.0,
    }


def test_a_field_that_is_not_there_is_named_with_its_criterion() -> None:
    part = Criterion(nn.MSELoss(), 1.0, {"input": "corner"})
    with pytest.raises(UserError, match=r"criterion\.place: bind asks for a field 'corner'"):
        SupervisedTask(TwoHeads(), Criteria({"place": part})).compute(batch())


CONFIG = """
model: {type: "tests.engine.test_criteria:TwoHeads"}
optimizer: {type: SGD, lr: 0.1}
criterion:
  kind: {type: CrossEntropyLoss, factor: 10, bind: {output: kind, target: label}}
  angle: {type: MSELoss, bind: {input: angle, target: degrees}}
dataloader: {train: {dataset: {type: picture_world, data_path: world}}}
epochs: 1
"""


@pytest.mark.seed("S2-73", "S2-74", "S2-75")
def test_a_config_names_several(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(CONFIG, encoding="utf-8")
    compiled = compile_config(file)
    again = tmp_path / "again.yaml"
    stage = compiled.resolved["stages"][0]
    assert stage["criterion"]["kind"]["factor"] == 10
    task = Experiment(file).task(stage)
    torch.manual_seed(0)
    found = task.updates()[0].compute(batch())
    torch.testing.assert_close(found.loss, 10 * found.losses["kind"] + found.losses["angle"])
    wrong = CONFIG.replace("factor: 10", "factor: ten").replace(
        "MSELoss,", "MSELoss, reductoin: sum,"
    )
    again.write_text(wrong, encoding="utf-8")
    with pytest.raises(ConfigErrors) as caught:
        compile_config(again)
    told = str(caught.value)
    assert "again.yaml:5:" in told
    assert "must be a number" in told
    assert "Did you mean reduction?" in told


class Largest:
    """A reading that names the class."""

    def decode(self, outputs: Outputs) -> Outputs:
        return {"class_id": outputs["kind"].argmax(dim=1)}

    def describe(self, outputs: Outputs, place: int, classes: Sequence[str] | None) -> Any:
        return {"class_id": int(outputs["class_id"][place])}


def test_a_reading_adds_what_outputs_mean() -> None:
    torch.manual_seed(0)
    task = SupervisedTask(TwoHeads(), criteria(), reading=Largest())
    data = batch()
    assert "class_id" not in task.compute(data).outputs, "training does not need it"
    for outputs in (task.evaluate(data).outputs, task.predict(data)):
        assert torch.equal(outputs["class_id"], outputs["kind"].argmax(dim=1))


def test_a_factor_of_nothing_counts_for_nothing(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(CONFIG.replace("factor: 10", "factor: 0"), encoding="utf-8")
    task = Experiment(file).task(compile_config(file).resolved["stages"][0])
    found = task.updates()[0].compute(batch())
    assert float(found.losses["kind"].detach()) > 0
    torch.testing.assert_close(found.loss, found.losses["angle"])


@pytest.mark.parametrize("names", [("loss", "far"), ("near", "loss_near")])
def test_names_that_would_fall_together_in_the_log_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(UserError, match="are no names of parts"):
        Criteria({name: Criterion(nn.MSELoss()) for name in names})
