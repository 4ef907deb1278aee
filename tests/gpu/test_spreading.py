"""Networks spread over GPUs: torch's DataParallel, and DDP and FSDP over NCCL in a group of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import ClipGradientsHook, DataParallelHook, DDPHook, EMAHook, FSDPHook
from cvtrainer.trainer import Trainer
from tests.toy import ToyModel, batches

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One rank that the hooks take for one of several."""
    for room in ("ddp", "fsdp"):
        monkeypatch.setattr(f"cvtrainer.hooks.{room}.running_processes", lambda: 2)
    meet = f"file://{tmp_path}/meet"
    dist.init_process_group("cpu:gloo,cuda:nccl", init_method=meet, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def trained(*hooks: Any, norm: bool = False) -> Trainer:
    """Two epochs of the toy model on the first GPU."""
    torch.manual_seed(0)

    def optimizer(networks: Mapping[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        return {"main": torch.optim.AdamW(networks["model"].parameters(), lr=0.01)}

    trainer = Trainer(
        ToyModel(dropout=0.0, norm=norm),
        nn.CrossEntropyLoss(),
        optimizer,
        {"train": batches(6, size=8), "val": batches(2, size=8)},
        hooks=hooks,
        settings=StageSettings(device=torch.device("cuda", 0)),
    )
    trainer.train(2)
    return trainer


def assert_alike(one: Trainer, other: Trainer) -> None:
    ours, theirs = (trainer.state_dict()["networks"]["model"] for trainer in (one, other))
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name].cpu(), value.cpu(), rtol=1e-4, atol=1e-5)


@two_gpus
@pytest.mark.seed("S2-12")
def test_data_parallel_over_two_gpus() -> None:
    trainer = trained(DataParallelHook([0, 1]))
    assert isinstance(trainer._networks.used["model"], nn.DataParallel)
    assert_alike(trainer, trained())


@pytest.mark.seed("S2-107")
def test_synchronised_batchnorm(group: None) -> None:
    trainer = trained(DDPHook(sync_batchnorm=True), norm=True)
    assert isinstance(trainer.model.adapter, nn.SyncBatchNorm)
    assert_alike(trainer, trained(norm=True))


@pytest.mark.parametrize("offload", [False, True])
def test_a_sharded_network(group: None, offload: bool) -> None:
    common = (EMAHook(decay=0.9), ClipGradientsHook(max_norm=0.5))
    trainer = trained(FSDPHook(blocks=["Linear"], cpu_offload=offload), *common)
    place = "cpu" if offload else "cuda"
    assert all(one.device.type == place for one in trainer.model.parameters())
    assert_alike(trainer, trained(EMAHook(decay=0.9), ClipGradientsHook(max_norm=0.5)))


def test_a_sharded_network_in_bfloat16(group: None) -> None:
    trainer = trained(FSDPHook(dtype="bfloat16", reduce_dtype="float32"), norm=True)
    assert all(one.dtype == torch.float32 for one in trainer.model.parameters())


def test_gradients_travel_in_bfloat16(group: None) -> None:
    trained(DDPHook(compression="bfloat16"))
