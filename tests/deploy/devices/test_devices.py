"""Device files say where their numbers are from, and estimates are the roofline of a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.devices.device import device_files, device_named, device_of
from cvtrainer.deploy.devices.estimate import estimate

OWN: dict[str, Any] = {
    "name": "Board",
    "ram_kib": 2,
    "flash_kib": 100,
    "macs": {"int8": {"million_per_s": 1, "basis": "derived", "source": "a guess"}},
    "bandwidth": {"activations_mb_per_s": 2, "weights_mb_per_s": 0.5},
    "sources": {"memory": "its label", "bandwidth": "a guess"},
}
PLAN: dict[str, Any] = {
    "precision": "int8",
    "ram_bytes": 4096,
    "flash_bytes": 3000,
    "macs": 9000,
    "layers": [
        {"name": "conv", "kind": "conv2d", "macs": 8000, "weight_bytes": 100, "moved_bytes": 4000},
        {"name": "", "kind": "add", "macs": 0, "weight_bytes": 0, "moved_bytes": 6000},
        {"name": "fc", "kind": "linear", "macs": 1000, "weight_bytes": 2500, "moved_bytes": 100},
    ],
}


@pytest.mark.parametrize("file", device_files(), ids=lambda file: file.stem)
def test_a_device_that_comes_along_is_read_and_says_its_sources(file: Path) -> None:
    device = device_named(file.stem)
    assert device.name
    assert device.about
    assert device.ram_bytes
    assert all(len(text) > 20 for text in device.sources.values())
    assert all(len(rate.source) > 20 for rate in device.rates.values())
    if "float" in device.rates:
        assert device.rates["float"].per_second < device.rates["int8"].per_second
    for alias in yaml.safe_load(file.read_text())["aliases"]:
        assert device_named(alias.upper()) == device


def test_names_of_devices_are_used_once() -> None:
    told = [yaml.safe_load(file.read_text()) for file in device_files()]
    names = [name for one in told for name in one["aliases"]]
    names += [file.stem for file in device_files()]
    assert len(names) == len(set(names))
    assert len(told) >= 8


def test_a_layer_takes_as_long_as_its_slowest_part() -> None:
    found = estimate(PLAN, device_of(OWN, "own"))
    assert found.milliseconds == pytest.approx(8 + 3 + 5)
    assert [one.bound for one in found.slowest] == ["MACs", "weights", "activations"]
    assert [one.name for one in found.slowest] == ["conv", "fc", "add"]
    assert found.shares == pytest.approx({"MACs": 0.5, "activations": 3 / 16, "weights": 5 / 16})
    assert found.too_little == ("RAM does not suffice: 4.0 of 2 KiB",)
    assert found.text.startswith("estimate for Board, not measured: 16 ms in int8")
    assert found.plain()["kind"] == "estimate, not measured"


def test_what_nobody_says_is_left_out_of_the_estimate() -> None:
    bare = {key: value for key, value in OWN.items() if key not in ("bandwidth", "ram_kib")}
    found = estimate(PLAN, device_of(bare, "own"))
    assert found.milliseconds == pytest.approx(9)
    assert found.too_little == ()
    with pytest.raises(UserError, match="has no MACs of float"):
        estimate({**PLAN, "precision": "float"}, device_of(bare, "own"))


def test_ones_own_file_is_a_path(tmp_path: Path) -> None:
    file = tmp_path / "board.yaml"
    file.write_text(yaml.safe_dump(OWN))
    assert device_named(str(file)) == device_of(OWN, "x")
    file.write_text("a: [")
    with pytest.raises(UserError, match="not YAML"):
        device_named(str(file))
    with pytest.raises(UserError, match="no such device file"):
        device_named(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match=r"did you mean stm32h7\?.*stm32h743.*your own"):
        device_named("stm32h8")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"sources": {"memory": "x"}}, "does not say where its bandwidth is from"),
        ({"ram_kib": -1}, "-1 is no number above 0"),
        ({"ram_kib": float("inf")}, "inf is no number above 0"),
        ({"flash_kib": 1e-9}, "1e-09 is less than a byte"),
        ({"flash_kib": "2M"}, "'2M' is no number above 0"),
        ({"ram": 3}, "'ram' is no word here"),
        ({"macs": {}}, "a device has a name, and macs"),
        ({"macs": {"int4": {}}}, "'int4' is no word here"),
        ({"macs": {"int8": {"million_per_s": 3}}}, "a basis"),
        ({"macs": [1]}, "no mapping"),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        device_of({**OWN, **change}, "own")
