"""A snapshot is what was there, whatever happens to the state afterwards."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.engine.checkpoint import read_checkpoint, write_checkpoint
from cvtrainer.engine.snapshot import Snapshot


def storages(value: Any) -> set[int]:
    """Where the tensors in a value lie."""
    if isinstance(value, Tensor):
        return {value.untyped_storage().data_ptr()}
    if isinstance(value, dict):
        value = list(value.values())
    return set().union(*map(storages, value)) if isinstance(value, (list, tuple)) else set()


def test_nothing_is_shared_with_the_state() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    kept = ["a.pth"]
    state = {
        "networks": {"model": network.state_dict()},
        "optimizers": {"main": optimizer.state_dict()},
        "hooks": {"checkpoint": {"kept": kept, "best": (0.5, torch.ones(2))}},
        "none": None,
    }
    taken = Snapshot(state).state
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert not storages(state) & storages(taken)

    network(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 7.0
    kept.append("b.pth")
    assert all(torch.equal(taken["networks"]["model"][name], before[name]) for name in before)
    assert float(taken["optimizers"]["main"]["state"][0]["step"]) == 1
    assert taken["optimizers"]["main"]["param_groups"][0]["lr"] != 7.0
    assert taken["hooks"]["checkpoint"]["kept"] == ["a.pth"]


def test_what_torch_keeps_beside_a_state_stays() -> None:
    state = nn.BatchNorm1d(2).state_dict()
    taken = Snapshot({"model": state}).state["model"]
    assert type(taken) is OrderedDict
    assert taken._metadata == state._metadata
    assert taken._metadata is not state._metadata


def test_a_tensor_with_two_names_stays_one(tmp_path: Path) -> None:
    shared = torch.randn(100, 100)
    state = {"model": {"encoder": shared, "decoder": shared.view(100, 100), "turned": shared.T}}
    taken = Snapshot(state).state["model"]
    assert len(storages(taken)) == 2
    write_checkpoint(tmp_path / "a.pth", Snapshot({"model": {"e": shared, "d": shared}}).state)
    assert (tmp_path / "a.pth").stat().st_size < 1.5 * shared.nbytes


def test_a_view_does_not_drag_its_storage_along() -> None:
    large = torch.randn(10_000)
    taken = Snapshot({"part": large[5:8]}).state["part"]
    assert torch.equal(taken, large[5:8])
    assert taken.untyped_storage().nbytes() == taken.nbytes


@pytest.mark.parametrize(
    "value",
    [
        torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        torch.ones(3, dtype=torch.bfloat16),
        torch.tensor(7),
        torch.zeros(0, 4),
        torch.randn(1, 3).expand(5, 3),
        torch.eye(3).to_sparse(),
    ],
)
def test_every_kind_of_tensor(tmp_path: Path, value: Tensor) -> None:
    taken = Snapshot({"one": value}).state["one"]
    write_checkpoint(tmp_path / "a.pth", {"one": taken})
    read = read_checkpoint(tmp_path / "a.pth")["one"]
    for other in (taken, read):
        assert other.dtype == value.dtype
        assert torch.equal(other.to_dense(), value.to_dense())
    if value.ndim == 4:
        assert taken.stride() == value.stride()
