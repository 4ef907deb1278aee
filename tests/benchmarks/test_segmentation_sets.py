"""Pets and nuclei: parts that are apart and alike, and a peer that counts as we do."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

from benchmarks.real.frame import DATA_VARIABLE, SPLITS
from cvtrainer.meters import MeanIoUMeter

PARTS = ("train", "val", "test")


def listed(name: str) -> dict[str, list[str]]:
    return {part: (SPLITS / f"{name}_{part}.txt").read_text().split() for part in PARTS}


@pytest.fixture
def sets() -> Path:
    named = os.environ.get(DATA_VARIABLE)
    if not named:
        pytest.skip(f"{DATA_VARIABLE} names no folder of real data sets")
    return Path(named)


def test_parts_are_apart() -> None:
    for name, counts in (("pets", (120, 30, 60)), ("nuclei", (52, 10, 16))):
        parts = listed(name)
        every = [one for names in parts.values() for one in names]
        assert len(every) == len(set(every))
        assert tuple(len(names) for names in parts.values()) == counts
    for part in ("train", "val"):
        breeds = Counter(name.rpartition("_")[0] for name in listed("pets")[part])
        assert len(breeds) == 3
        assert max(breeds.values()) == min(breeds.values()), "a fifth of each breed is val"


def test_pets_keep_the_lists_of_the_set(sets: Path) -> None:
    parts, lists = listed("pets"), sets / "pets-trimap" / "annotations"
    for file, names in (("trainval", parts["train"] + parts["val"]), ("test", parts["test"])):
        lines = (lists / f"{file}.txt").read_text().splitlines()
        assert sorted(line.split()[0] for line in lines if line.strip()) == sorted(names)


def test_nuclei_are_all_there_in_equal_shares_of_kinds(sets: Path) -> None:
    stained = {}
    for part, names in listed("nuclei").items():
        pictures = [sets / "nuclei-dsb2018" / one / "images" / f"{one}.png" for one in names]
        grey = [Image.open(one).convert("RGB") for one in pictures]
        spread = [np.ptp(np.asarray(one).astype(int), axis=2).mean() for one in grey]
        stained[part] = sum(value > 1 for value in spread) / len(names)
    assert all(abs(share - 15 / 78) < 0.02 for share in stained.values()), stained


class Fixed(nn.Module):
    """Gives the first channel's numbers as classes, whatever the scale."""

    def forward(self, x: Tensor) -> Tensor:
        kinds = (x[:, 0] > 0).long()
        return nn.functional.one_hot(kinds, 3).permute(0, 3, 1, 2).float()


def test_the_peer_counts_as_our_meter(tmp_path: Path) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    from benchmarks.peers import real_smp as peer

    draw = np.random.default_rng(3)
    for folder in ("images", "annotations/trimaps"):
        (tmp_path / folder).mkdir(parents=True)
    for name in "ab":
        pixels = draw.integers(0, 256, (peer.SIDE, peer.SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.jpg")
        mask = draw.integers(1, 4, (peer.SIDE, peer.SIDE)).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / "annotations" / "trimaps" / f"{name}.png")
    for kind, classes in (("pets", 2), ("pets_border", 3)):
        pairs = [peer.read(tmp_path, name, peer.VALUES[kind]) for name in "ab"]
        pictures, masks = peer.stacked(pairs, lambda *pair: pair)
        assert set(masks.unique().tolist()) == {0, 1, {2: 255, 3: 2}[classes]}
        network = Fixed()
        meter = MeanIoUMeter(ignore_index=255)
        meter.update(network(pictures)[:, :classes], masks)
        assert peer.miou(network, pairs, classes) == pytest.approx(
            meter.compute()["miou"], abs=1e-6
        )
