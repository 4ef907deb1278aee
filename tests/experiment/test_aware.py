"""Which values the first ranges are sought among."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("torchao")

from cvtrainer.deploy.quantize.aware import make_aware
from cvtrainer.deploy.quantize.aware_torchao import GraphRounding
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.experiment.aware import RoundingHook
from cvtrainer.trainer import Trainer
from tests.toy import FEATURES, ToyModel, batches

ASKED = {"method": "max", "num_batches": 4, "freeze_ranges": 0, "freeze_batch_norm": "100%"}


@pytest.mark.parametrize(("counted", "reaches"), [(0, True), (1, False)])
def test_norms_without_statistics_show_what_training_will_see(counted: int, reaches: bool) -> None:
    torch.manual_seed(0)
    network = ToyModel()
    network.adapter.num_batches_tracked.fill_(counted)
    with torch.no_grad():
        network.backbone.weight.mul_(0.1)
        network.backbone.bias.zero_()
    room = make_aware(network, (FEATURES,), Scheme())
    assert isinstance(room, GraphRounding)
    found: list[Tensor] = []

    class Look(RoundingHook):
        def before_train(self, stage: object) -> None:
            super().before_train(stage)  # type: ignore[arg-type]
            found.append(network.adapter.running_mean.clone())
            found.append(network.adapter.num_batches_tracked.clone())

    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    data = {"train": batches()}
    Trainer(network, nn.CrossEntropyLoss(), optimizer, data, hooks=[Look(ASKED)]).train(1)
    assert (float(room.relu.ends[1]) > 1) is reaches
    assert not found[0].any()
    assert int(found[1]) == counted
    assert int(network.adapter.num_batches_tracked) == counted + 4
