"""Images per second of the ways to make batches, and how long the first batch of an epoch takes.

    python -m benchmarks.data.crews [--images 512] [--rounds 7] [--workers 2]

500 px JPEG files to 224 px batches of 32: this process, threads, worker processes, torchvision's
ImageFolder with torch's DataLoader. All take turns, epoch by epoch; medians count.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.data.pictures import picture_folder
from cvtrainer.data import ImageFolder
from cvtrainer.data.decode import Decoding
from cvtrainer.data.opening import FilePixels
from cvtrainer.data.pipeline import Parts
from cvtrainer.data.stream import LoaderStream
from cvtrainer.data.tensorizer import ImageTensorizer, IndexTensorizer, Tensorizer
from cvtrainer.data.transforms import Transforms

BATCH = 32
Epochs = Callable[[int], Iterator[Any]]


def ours(
    folder: Path, *, uint8: bool = False, scaled: bool = False, **options: Any
) -> LoaderStream:
    """Resize and flip; uint8 pixels travel where the device makes floats of them."""
    pixels = ImageTensorizer(None, dtype="uint8") if uint8 else ImageTensorizer()
    parts = Parts(
        ImageFolder(folder),
        pixels=FilePixels(Decoding(scaled=scaled)),
        transforms=Transforms(
            "Albumentations", [{"type": "Resize", "height": 224, "width": 224}, "HorizontalFlip"]
        ),
        tensorizer=Tensorizer({"x": pixels, "class_id": IndexTensorizer()}),
    )
    return LoaderStream(parts, options={"batch_size": BATCH, "shuffle": True, **options})


def torchvision_loader(folder: Path, workers: int) -> Epochs:
    """The same work as most people write it."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    steps = transforms.Compose(
        [
            transforms.Resize((224, 224)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    loader = DataLoader(
        datasets.ImageFolder(str(folder), steps),
        BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
    )
    return lambda epoch: iter(loader)


def main() -> None:
    """Measure all in turns and print one table."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--images", type=int, default=512)
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("--workers", type=int, default=2)
    given = words.parse_args()
    threads: dict[str, Any] = {"num_workers": given.workers, "workers": "threads"}
    processes: dict[str, Any] = {"num_workers": given.workers, "workers": "processes"}
    with tempfile.TemporaryDirectory() as room:
        folder = picture_folder(Path(room), given.images)
        streams = {
            "serial": ours(folder),
            "threads": ours(folder, **threads),
            "processes": ours(folder, **processes),
            "threads, uint8": ours(folder, uint8=True, **threads),
            "processes, uint8": ours(folder, uint8=True, **processes),
            "threads, scaled decoding": ours(folder, scaled=True, **threads),
            "processes, scaled decoding": ours(folder, scaled=True, **processes),
        }
        ways: dict[str, Epochs] = {name: stream.epoch for name, stream in streams.items()}
        ways["torchvision + DataLoader"] = torchvision_loader(folder, given.workers)
        report(measured(ways, given.images, given.rounds))
        for stream in streams.values():
            stream.close()


def measured(
    ways: dict[str, Epochs], images: int, rounds: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Rates and first-batch times of each way; the first round, which starts workers, is left."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ways}
    for turn in range(rounds + 1):
        for name, epochs in ways.items():
            began = time.perf_counter()
            first = 0.0
            for batch in epochs(turn + 1):
                first = first or time.perf_counter() - began
                del batch
            if turn:
                found[name][0].append(images / (time.perf_counter() - began))
                found[name][1].append(first)
    return found


def report(found: dict[str, tuple[list[float], list[float]]]) -> None:
    """The table, with shares of torchvision's rate and of the time of one batch made here."""
    peer = statistics.median(found["torchvision + DataLoader"][0])
    one_batch = BATCH / statistics.median(found["serial"][0])
    print(f"one batch made in this process: {one_batch * 1e3:.1f} ms")
    print(f"{'way':28} {'images/s':>9} {'x peer':>7} {'first ms':>9} {'x batch':>8}")
    for name, (rates, firsts) in found.items():
        rate, first = statistics.median(rates), statistics.median(firsts)
        print(
            f"{name:28} {rate:9.0f} {rate / peer:7.2f} {first * 1e3:9.1f} {first / one_batch:8.2f}"
        )


if __name__ == "__main__":
    main()
