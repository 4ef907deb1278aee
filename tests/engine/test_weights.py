"""Weights into a network by name: prefixes, rules, shapes, and that the account is exact."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.weight_names import NameRules
from cvtrainer.engine.weights import Loading, load_weights
from tests.toy import ToyModel


def weights(network: nn.Module, prefix: str = "", value: float = 0.5) -> dict[str, Tensor]:
    """Its names, with values of their own."""
    return {
        prefix + name: torch.full_like(tensor, value)
        for name, tensor in network.state_dict().items()
    }


def is_filled(network: nn.Module, *names: str, value: float = 0.5) -> bool:
    own = network.state_dict()
    return all(
        bool((own[name] == torch.tensor(value).to(own[name])).all()) for name in names or own
    )


@pytest.mark.seed("S1-58", "S3-87")
@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "module.model.", "_orig_mod.", "module._orig_mod.model."]
)
def test_prefixes_of_wrappers_are_taken_off(prefix: str) -> None:
    network = ToyModel()
    load_weights(network, weights(network, prefix), source="file")
    assert is_filled(network)


def test_a_part_that_is_really_called_like_a_wrapper_stays() -> None:
    network = nn.ModuleDict({"module": nn.Linear(2, 2), "model": nn.Linear(2, 2)})
    load_weights(network, weights(network, "module."), source="file")
    assert is_filled(network)
    load_weights(network, weights(network, value=0.25), source="file")
    assert is_filled(network, value=0.25)


def test_a_name_that_fits_as_it_is_goes_before_one_that_had_to_be_shortened() -> None:
    network = ToyModel()
    given = {**weights(network, "module.", value=0.25), **weights(network)}
    found = fit(network, given).fit
    assert is_filled(network)
    assert found.unexpected == [f"module.{name}" for name in network.state_dict()]


def test_a_compiled_part_takes_plain_weights_and_the_other_way_round() -> None:
    plain = nn.Sequential(OrderedDict(body=nn.Linear(2, 2)))
    compiled = nn.Sequential(OrderedDict(body=torch.compile(nn.Linear(2, 2))))
    assert list(compiled.state_dict()) == ["body._orig_mod.weight", "body._orig_mod.bias"]
    load_weights(compiled, weights(plain), source="file")
    assert is_filled(compiled)
    load_weights(plain, weights(compiled, value=0.25), source="file")
    assert is_filled(plain, value=0.25)


def test_a_strict_misfit_is_told_whole_and_changes_nothing() -> None:
    network = ToyModel()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    given = weights(network)
    given["head.weight"] = torch.zeros(5, 8)
    del given["backbone.bias"]
    given["neck.weight"] = torch.zeros(1)
    with pytest.raises(UserError) as caught:
        load_weights(network, given, source="old.pth")
    told = str(caught.value)
    for part in (
        "old.pth",
        "head.weight is (5, 8), the model has (3, 8)",
        "missing: backbone.bias",
        "unknown to the model: neck.weight",
    ):
        assert part in told
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def fit(network: nn.Module, given: dict[str, Any], **rules: Any) -> Loading:
    loading = Loading(network, given, NameRules(**rules))
    loading.carry_out(strict=False)
    return loading


def test_the_account_of_a_lenient_load_is_exact() -> None:
    network = ToyModel()
    kept = network.head.weight.clone()
    given = weights(network)
    given["head.weight"] = torch.zeros(5, 8)
    del given["backbone.bias"]
    given["neck.weight"] = torch.zeros(1)
    found = fit(network, given).fit
    assert found.wrong_shape == {"head.weight": ([5, 8], [3, 8])}
    assert (found.missing, found.unexpected) == (["backbone.bias"], ["neck.weight"])
    assert set(found.loaded) == set(network.state_dict()) - {"head.weight", "backbone.bias"}
    assert is_filled(network, *found.loaded)
    assert torch.equal(network.head.weight, kept)


@pytest.mark.parametrize(
    ("names", "rules"),
    [
        ({"encoder.body": "backbone"}, {"rename": {"encoder.body": "backbone"}}),
        ({"encoder.body": "backbone"}, {"rename": {"encoder.body.": "backbone."}}),
        ({"net.backbone": "backbone"}, {"remove_prefix": ("net",), "rename": {}}),
        ({"module.net.backbone": "backbone"}, {"remove_prefix": ("net.",)}),
        ({"block_7_lin": "backbone"}, {"rename": {"block_*_lin": "backbone"}}),
        ({"old_backbone": "backbone"}, {"rename": {"old_*": "*"}}),
    ],
)
def test_names_are_brought_together(names: dict[str, str], rules: dict[str, Any]) -> None:
    network = ToyModel()
    ((theirs, own),) = names.items()
    given = {f"{theirs}.weight": torch.full((8, 6), 0.5), f"{theirs}.bias": torch.full((8,), 0.5)}
    found = fit(network, given, **rules).fit
    assert found.loaded == [f"{own}.weight", f"{own}.bias"]
    assert found.renamed == {f"{own}.{word}": f"{theirs}.{word}" for word in ("weight", "bias")}
    assert found.unexpected == []
    assert is_filled(network, *found.loaded)


def test_a_prefix_is_added() -> None:
    network = ToyModel()
    found = fit(network, weights(network.backbone), add_prefix="backbone").fit
    assert found.loaded == ["backbone.weight", "backbone.bias"]


@pytest.mark.parametrize(
    ("rules", "skipped"),
    [
        ({"skip": ("head",)}, {"head.weight", "head.bias"}),
        ({"skip": ("*.bias",)}, {"head.bias", "backbone.bias", "adapter.bias"}),
        ({"only": ("backbone.*", "adapter")}, {"head.weight", "head.bias"}),
        ({"only": ("backbone", "head"), "skip": ("head.bias",)}, {"head.bias"}),
    ],
)
def test_what_is_skipped_is_neither_missing_nor_left_over(
    rules: dict[str, Any], skipped: set[str]
) -> None:
    network = ToyModel()
    given = {**weights(network), "head.extra": torch.zeros(1)}
    found = fit(network, given, **rules).fit
    assert skipped <= set(found.skipped)
    assert not set(found.skipped) & set(found.loaded)
    assert found.missing == []
    assert found.unexpected in ([], ["head.extra"])
    assert is_filled(network, *found.loaded)
    assert not is_filled(network, *(set(skipped) - {"adapter.bias"}))


def test_rules_that_fit_nothing_are_named() -> None:
    network = ToyModel()
    rules = {
        "remove_prefix": ("net",),
        "rename": {"encoder": "backbone"},
        "only": ("bakbone.*", "*"),
        "skip": ("haed",),
    }
    assert fit(network, weights(network), **rules).idle_rules == [
        "remove_prefix: net",
        "rename: encoder",
        "only: bakbone.*",
        "skip: haed",
    ]


def test_tied_weights_need_one_name_only() -> None:
    network = ToyModel()
    network.second = nn.Linear(8, 3)
    network.second.weight = network.head.weight
    given = weights(network)
    del given["second.weight"]
    load_weights(network, given, source="file")
    assert is_filled(network)


def test_old_files_without_the_counter_of_batch_norm_are_taken() -> None:
    network = ToyModel()
    given = weights(network)
    del given["adapter.num_batches_tracked"]
    load_weights(network, given, source="file")
    assert is_filled(network, *given)


class Versioned(nn.Module):
    """Loads by a rule of its own, as modules of quantisation do."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(1))

    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        old = state.pop(prefix + "factor", None)
        if old is not None:
            state[prefix + "scale"] = old
        if prefix + "scale" in state:
            self.scale.resize_(state[prefix + "scale"].shape)
        super()._load_from_state_dict(state, prefix, *rest)


def test_modules_with_rules_of_their_own_decide_themselves() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 2), Versioned())

    network = make()
    given = weights(network)
    given["1.scale"] = torch.arange(4.0)
    load_weights(network, given, source="file")
    assert torch.equal(network[1].scale, torch.arange(4.0))
    network, given = make(), weights(network)
    given["1.factor"] = torch.arange(3.0)
    del given["1.scale"]
    load_weights(network, given, source="file")
    assert torch.equal(network[1].scale, torch.arange(3.0))
    del given["1.factor"]
    with pytest.raises(UserError, match=r"missing: 1\.scale"):
        load_weights(make(), given, source="file")
    with pytest.raises(UserError, match=r"1\.other"):
        load_weights(make(), {**weights(make()), "1.other": torch.zeros(1)}, source="file")
    found = fit(make(), {**given, "1.other": torch.zeros(1)}).fit
    assert (found.missing, found.unexpected) == (["1.scale"], ["1.other"])


def test_weight_norm_takes_its_old_names() -> None:
    network = torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    given = {"weight_g": torch.ones(2, 1), "weight_v": torch.eye(2), "bias": torch.zeros(2)}
    load_weights(network, given, source="file")
    assert torch.equal(network.weight, torch.eye(2))
