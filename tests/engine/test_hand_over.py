"""Weights from a saved state to the networks of a stage: who takes whose, and the whole account."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.hand_over import HandOver, Wish, hand_over
from tests.engine.test_weights import is_filled, weights
from tests.toy import ToyModel


def handed(own: dict[str, nn.Module], state: dict[str, Any], **block: Any) -> HandOver:
    return hand_over(own, state, Wish.read(block), source="init_from: file.pth")


def pair() -> dict[str, nn.Module]:
    return {"generator": nn.Linear(2, 2), "discriminator": nn.Linear(2, 1)}


def state_of(networks: dict[str, nn.Module], value: float = 0.5) -> dict[str, Any]:
    return {"networks": {name: weights(one, value=value) for name, one in networks.items()}}


def test_one_network_takes_the_only_one_whatever_it_is_called() -> None:
    for state in (
        {"networks": {"teacher": weights(ToyModel())}},
        {"state_dict": weights(ToyModel(), "module.")},
        weights(ToyModel(), "model."),
    ):
        network = ToyModel()
        found = handed({"model": network}, state)
        assert found.problems == []
        assert is_filled(network)


def test_several_networks_take_those_of_their_names() -> None:
    networks = pair()
    found = handed(networks, state_of(pair()))
    assert [(fit.network, fit.source) for fit in found.fits] == [
        ("generator", "generator"),
        ("discriminator", "discriminator"),
    ]
    assert all(is_filled(one) for one in networks.values())


def test_several_networks_out_of_one_module_that_held_both() -> None:
    networks = pair()
    both = weights(nn.ModuleDict(pair()), "module.")
    assert handed(networks, {"state_dict": both}).problems == []
    assert all(is_filled(one) for one in networks.values())


def test_networks_say_who_takes_whose() -> None:
    networks = pair()
    found = handed(networks, state_of({"g": networks["generator"]}), networks={"generator": "g"})
    assert found.problems == []
    assert is_filled(networks["generator"])
    assert not is_filled(networks["discriminator"])
    only = ToyModel()
    found = handed(
        {"model": only}, state_of({"a": ToyModel(), "b": ToyModel()}), networks={"model": "b"}
    )
    assert (found.problems, found.unused) == ([], ["a"])
    part = nn.Linear(6, 8)
    found = handed({"model": part}, weights(ToyModel()), networks={"model": "backbone"})
    assert (found.problems, found.fits[0].source) == ([], "backbone")
    assert is_filled(part)


@pytest.mark.parametrize(
    ("networks", "told"),
    [
        ({"gen": "generator"}, "the stage has no network gen, but generator, discriminator"),
        ({"generator": "gen"}, "the source has no network gen, but generator, discriminator"),
    ],
)
def test_networks_that_are_not_there(networks: dict[str, str], told: str) -> None:
    assert told in handed(pair(), state_of(pair()), networks=networks).problems[0]


def test_a_network_the_source_lacks() -> None:
    for strict in (True, False):
        networks = pair()
        state = state_of({"generator": networks["generator"], "critic": nn.Linear(2, 1)})
        found = handed(networks, state, strict=strict)
        assert found.unused == ["critic"]
        if strict:
            assert found.problems == ["discriminator: the source has no such network"]
            assert not is_filled(networks["generator"])
        else:
            assert found.problems == []
            assert is_filled(networks["generator"])
            assert "discriminator: not in the source" in found.summary()


@pytest.mark.seed("S2-70")
def test_another_number_of_classes(capsys: pytest.CaptureFixture[str]) -> None:
    old = ToyModel()
    old.head = nn.Linear(8, 7)
    network = ToyModel()
    kept = network.head.weight.clone()
    strict = handed({"model": network}, state_of({"model": old}))
    assert strict.problems == [
        "wrong shape: head.weight is (7, 8), the model has (3, 8), head.bias is (7,), "
        "the model has (3,)"
    ]
    with pytest.raises(UserError, match=r"^init_from: file\.pth: the weights do not fit"):
        strict.insist()
    found = handed({"model": network}, state_of({"model": old}), strict=False)
    found.insist()
    assert torch.equal(network.head.weight, kept)
    assert is_filled(network, "backbone.weight", "adapter.running_mean")
    assert found.summary() == (
        "init_from: file.pth: 7 of 9 weights taken over, "
        "wrong shape 2: head.weight (7, 8) for (3, 8), head.bias (7,) for (3,)"
    )
    plain = json.loads(json.dumps(found.as_plain()))
    assert plain["fits"][0]["wrong_shape"]["head.bias"] == [[7], [3]]
    assert len(plain["fits"][0]["loaded"]) == 7


@pytest.mark.parametrize("strict", [True, False])
def test_that_nothing_fits_is_always_an_error(strict: bool) -> None:
    network = ToyModel()
    state = {f"encoder.{name}": value for name, value in weights(ToyModel()).items()}
    found = handed({"model": network}, state, strict=strict)
    assert (
        "nothing fits, the model has backbone.weight, the source encoder.backbone.weight"
        in (found.problems[0])
    )
    assert not is_filled(network, "backbone.weight")


def test_all_problems_of_all_networks_come_at_once() -> None:
    networks, state = pair(), state_of(pair())
    del state["networks"]["generator"]["bias"]
    state["networks"]["discriminator"]["scale"] = torch.zeros(1)
    assert handed(networks, state, skip=["haed"]).problems == [
        "generator: missing: bias",
        "discriminator: unknown to the model: scale",
        "fits no name: skip: haed",
    ]


def averages(value: float) -> dict[str, Tensor]:
    return weights(ToyModel(), value=value)


@pytest.mark.parametrize(("averaged", "expected"), [(None, 0.25), (True, 0.25), (False, 0.5)])
def test_averaged_or_raw(averaged: bool | None, expected: float) -> None:
    network = ToyModel()
    state = {
        **state_of({"model": network}),
        "hooks": {"ema": {"averaged_weights": {"model": averages(0.25)}}, "logger": {}},
    }
    found = handed({"model": network}, state, averaged=averaged)
    assert is_filled(network, "head.weight", value=expected)
    assert ("(averaged)" in found.summary()) == (averaged is not False)


def test_rules_come_from_the_config_block() -> None:
    network = ToyModel()
    state = weights(nn.ModuleDict({"encoder": nn.Linear(6, 8), "fc": nn.Linear(8, 9)}))
    found = handed(
        {"model": network},
        state,
        source="x.pth",
        rename={"encoder": "backbone", "fc": "head"},
        skip="head",
        only=["backbone", "head"],
    )
    assert found.problems == []
    assert found.fits[0].loaded == ["backbone.weight", "backbone.bias"]
