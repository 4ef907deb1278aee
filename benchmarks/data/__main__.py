"""Images per second from JPEG files to batches, next to peers, and how much of decoding that is.

    python -m benchmarks.data [--folder F] [--images 768] [--rounds 5] [--workers 2] [--form train]

Without a folder of class folders, 500 px pictures are generated. All ways take turns, epoch by
epoch; the round that starts workers and fills caches is left out and medians count. Exit code 1
if the plain folder is below 1.6 times, or the packed cache below 5 times, the faster of
torchvision's ImageFolder with PIL and with version 2 of the transforms.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch

from benchmarks.data.pictures import picture_folder
from benchmarks.data.ways import (
    BATCH,
    REFERENCE,
    Epochs,
    Form,
    our_transforms,
    our_ways,
    ours,
    peer_ways,
)
from benchmarks.near_empty import table
from cvtrainer.data import ImageFolder
from cvtrainer.data.decode import Decoding
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.opening import FilePixels, open_record
from cvtrainer.data.randomness import DrawKey

PLAIN, PACKED = 1.6, 5.0
FIRST = 1.5
FULL = ("plain folder", "plain folder, scaled decoding", "plain folder, processes")
FULL_PACKED = ("cache: packed", "cache: packed, processes", "cache: packed, processes, shorter 256")
"""What counts: float batches, by threads or processes."""

LIMIT = "decoding alone, {} threads"
COMPARED = 64
"""So many pictures are compared with and without scaled decoding."""


@dataclass
class Times:
    """Images per second and seconds to the first batch, one of each per round."""

    rates: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def first(self) -> float:
        return statistics.median(self.firsts)


def measure(ways: dict[str, Epochs], rounds: int) -> dict[str, Times]:
    """All ways in turns."""
    found = {name: Times() for name in ways}
    for turn in range(rounds + 1):
        for name, epochs in ways.items():
            began, first, images = time.perf_counter(), 0.0, 0
            for batch in epochs(turn + 1):
                first = first or time.perf_counter() - began
                images += _count(batch)
                del batch
            if turn:
                found[name].rates.append(images / (time.perf_counter() - began))
                found[name].firsts.append(first)
    return found


def decoding_only(datas: list[bytes], threads: int) -> Epochs:
    """libjpeg-turbo and nothing else; a batch is a count."""

    def some(part: list[bytes]) -> int:
        for data in part:
            simplejpeg.decode_jpeg(data)
        return len(part)

    def epoch(number: int) -> Any:
        parts = [datas[at : at + BATCH // 4] for at in range(0, len(datas), BATCH // 4)]
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(some, parts)

    return epoch


def one_at_a_time(folder: Path, form: Form) -> Epochs:
    """Four batches that are made without workers, for the time that one takes."""
    stream = ours(folder, form)
    return lambda epoch: islice(stream.epoch(epoch), 4)


def scaled_difference(folder: Path, form: Form) -> tuple[float, int]:
    """Mean difference of the pixels, of 255, that scaled decoding makes; how many were scaled."""
    data, steps = ImageFolder(folder), our_transforms(form)
    whole, scaled = FilePixels(), FilePixels(Decoding(scaled=True))
    differences, smaller = [], 0
    for number in range(min(COMPARED, len(data))):
        key = DrawKey(0, 1, number)

        def need(height: int, width: int, key: DrawKey = key) -> tuple[int, int] | None:
            return steps.smallest_needed(height, width, key)

        record = data.record(number)
        pictures = [
            steps(open_record(record, source, need), key)["x"].astype(np.int16)
            for source in (whole, scaled)
        ]
        differences.append(float(np.abs(pictures[0] - pictures[1]).mean()))
        found = scaled.picture(record["x"], need)
        smaller += found.pixels.shape[0] < found.height
    return statistics.mean(differences), smaller


def run(folder: Path, room: Path, form: Form, rounds: int, workers: int) -> bool:
    """Measure one form of transforms and print its table; whether the targets are met."""
    peers, missing = peer_ways(folder, form, workers)
    streams = our_ways(folder, room, form, workers)
    datas = _bytes_of(folder)
    ways: dict[str, Epochs] = dict(peers)
    ways |= {name: stream.epoch for name, stream in streams.items()}
    ways["one batch, no workers"] = one_at_a_time(folder, form)
    ways |= {LIMIT.format(count): decoding_only(datas, count) for count in (1, workers)}
    found = measure(ways, rounds)
    for stream in streams.values():
        stream.close()
    best = max(found[name].rate for name in REFERENCE)
    limit = found[LIMIT.format(workers)].rate
    one = BATCH / found["one batch, no workers"].rate
    rows = [
        [
            name,
            f"{times.rate:.0f}",
            f"{times.rate / best:.2f}",
            f"{times.rate / limit:.0%}",
            f"{times.first * 1e3:.0f}",
            f"{times.first / one:.2f}" if name in streams else "",
        ]
        for name, times in found.items()
    ]
    header = ["way", "images/s", "of torchvision", "of decoding", "first ms", "of one batch"]
    print(f"\n{form}: {len(datas)} files, {np.mean([len(d) for d in datas]) / 1e3:.0f} kB each")
    print(table(header, rows))
    for line in missing:
        print(line)
    difference, smaller = scaled_difference(folder, form)
    compared = min(COMPARED, len(datas))
    print(f"scaled decoding: {smaller} of {compared} decoded smaller, ", end="")
    print(f"pixels differ by {difference:.2f} of 255 in the mean")
    plain = max(found[n].rate for n in streams if n in FULL) / best
    packed = max(found[n].rate for n in streams if n in FULL_PACKED) / best
    first = found["plain folder"].first / one
    print(f"plain {plain:.2f} (target {PLAIN}), packed {packed:.2f} (target {PACKED}), ", end="")
    print(f"first batch {first:.2f} (target {FIRST})", flush=True)
    return plain >= PLAIN and packed >= PACKED and first <= FIRST


def main() -> int:
    """Measure, print, judge."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--folder", type=Path, help="a folder of class folders of JPEG files")
    words.add_argument("--images", type=int, default=768)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--form", choices=("train", "eval"), help="one form only")
    given = words.parse_args()
    torch.set_num_threads(1)
    met = True
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        folder = given.folder or picture_folder(room / "files", given.images)
        forms: tuple[Form, ...] = (given.form,) if given.form else ("train", "eval")
        for form in forms:
            met &= run(folder, room, form, given.rounds, given.workers)
    return 0 if met else 1


def _bytes_of(folder: Path) -> list[bytes]:
    data = ImageFolder(folder)
    found = []
    for number in range(len(data)):
        encoded = data.record(number)["x"]
        assert isinstance(encoded, Encoded)
        found.append(encoded.read())
    return found


def _count(batch: Any) -> int:
    if isinstance(batch, int):
        return batch
    pixels = batch["x"] if isinstance(batch, dict) else batch[0]
    assert pixels.dtype in (torch.float32, torch.uint8)
    return len(pixels)


if __name__ == "__main__":
    sys.exit(main())
