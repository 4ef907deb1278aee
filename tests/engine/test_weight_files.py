"""Which files hold weights, and whose: ours, plain ones, other programs', safetensors."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import DamagedCheckpointError, write_checkpoint
from cvtrainer.engine.weight_files import (
    NAMELESS,
    read_weights,
    saved_weights,
    weights_for_use,
)

ONE = {"fc.weight": torch.ones(2, 2), "fc.bias": torch.ones(2)}
TWO = {"fc.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}


def value(weights: Any) -> float:
    return float(weights["fc.weight"][0, 0])


def ours(**hooks: Any) -> dict[str, Any]:
    return {"format": 1, "networks": {"model": ONE}, "hooks": hooks, "stage": "train"}


@pytest.mark.seed("S1-58", "S3-88")
@pytest.mark.parametrize(("averaged", "expected"), [(None, 0.0), (True, 0.0), (False, 1.0)])
def test_the_average_of_our_checkpoints_is_taken_or_left(
    tmp_path: Path, averaged: bool | None, expected: float
) -> None:
    path = tmp_path / "ours.pth"
    write_checkpoint(path, ours(ema={"averaged_weights": {"model": TWO}}))
    found = saved_weights(read_weights(path), averaged=averaged)
    assert value(found.networks["model"]) == expected
    assert found.averaged == (frozenset() if averaged is False else {"model"})


def test_an_average_that_is_wanted_and_not_there_is_an_error() -> None:
    assert value(saved_weights(ours()).networks["model"]) == 1.0
    for state in (ours(), ours(ema={"averaged_weights": {}}), ONE):
        with pytest.raises(UserError, match="no average"):
            saved_weights(state, averaged=True)


@pytest.mark.parametrize(
    "key", ["state_dict", "model_state_dict", "model_state", "model", "weights", "params"]
)
def test_the_usual_keys_of_other_programs(tmp_path: Path, key: str) -> None:
    path = tmp_path / "theirs.ckpt"
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    torch.save({"epoch": 3, key: ONE, "optimizer": optimizer.state_dict()}, path)
    found = saved_weights(read_weights(path)).networks
    assert list(found) == ["model" if key == "model" else NAMELESS]
    assert value(weights_for_use(read_weights(path))) == 1.0


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema", "ema", "params_ema"])
def test_other_programs_averages(key: str) -> None:
    for raw in ("state_dict", "model"):
        state = {raw: ONE, key: TWO}
        assert value(weights_for_use(state)) == 0.0
        assert value(weights_for_use({**state, "epoch": 1})) == 0.0
        chosen = saved_weights(state, averaged=False)
        assert [value(one) for one in chosen.networks.values()] == [1.0]
        assert not chosen.averaged


def test_several_networks_by_name() -> None:
    state = {"generator": ONE, "discriminator": TWO, "optimizer": {"state": {}}, "step": 4}
    assert list(saved_weights(state).networks) == ["generator", "discriminator"]
    assert value(weights_for_use(state, "discriminator")) == 0.0
    with pytest.raises(UserError, match="generator, discriminator"):
        weights_for_use(state)


@pytest.mark.parametrize("state", [{}, {"epoch": 3, "config": {"lr": 1}}, {"model": "resnet"}])
def test_no_weights_at_all(state: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="no weights of a network in it; it holds"):
        saved_weights(state)


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(ONE, path)
    assert value(weights_for_use(read_weights(path))) == 1.0
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DamagedCheckpointError, match=r"weights\.safetensors"):
        read_weights(path)
    with pytest.raises(UserError, match="no such checkpoint"):
        read_weights(tmp_path / "none.safetensors")


def test_files_of_old_torch(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(ONE, path, _use_new_zipfile_serialization=False)
    assert value(weights_for_use(read_weights(path))) == 1.0
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"old\.pth"):
        read_weights(path)


@pytest.mark.parametrize("archive", [True, False])
def test_a_python_object_is_refused_and_named(tmp_path: Path, archive: bool) -> None:
    path = tmp_path / "args.pth"
    words = argparse.Namespace(lr=0.1)
    state = {"state_dict": ONE, "args": words}
    torch.save(state, path, _use_new_zipfile_serialization=archive)
    with pytest.raises(UserError, match=r"args\.pth.*argparse\.Namespace.*torch\.save") as caught:
        read_weights(path)
    assert not isinstance(caught.value, DamagedCheckpointError)


class Trap:
    def __reduce__(self) -> Any:
        return os.system, ("touch sprung",)


@pytest.mark.parametrize("archive", [True, False])
def test_nothing_in_a_file_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": ONE, "x": Trap()}, "trap.pth", _use_new_zipfile_serialization=archive)
    with pytest.raises(UserError, match=r"trap\.pth"):
        read_weights(Path("trap.pth"))
    assert not Path("sprung").exists()
