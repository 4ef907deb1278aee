"""The ways to make batches that are compared: ours, torchvision's, timm's and Albumentations'.

All deliver batches of 64 float32 pictures of 224 px, normalised, with labels, from the same files
with the same number of workers. A way is a function from an epoch's number to its batches. A peer
that is not installed is left out by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from cvtrainer.data import ImageFolder
from cvtrainer.data.cache import MemoryCache, PackedCache
from cvtrainer.data.decode import Decoding
from cvtrainer.data.opening import FilePixels, PixelSource
from cvtrainer.data.pipeline import Parts
from cvtrainer.data.stream import LoaderStream
from cvtrainer.data.tensorizer import ImageTensorizer, IndexTensorizer, Tensorizer
from cvtrainer.data.transforms import Transforms

BATCH = 64
SIDE, SHORTER = 224, 256
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Form = Literal["train", "eval"]
Epochs = Callable[[int], Iterator[Any]]


def our_transforms(form: Form, *, antialias: bool = False) -> Transforms:
    """Of our vocabulary, on OpenCV."""
    sizing: dict[str, Any] = {"antialias": True} if antialias else {}
    if form == "train":
        crop = {"type": "RandomResizedCrop", "size": SIDE, **sizing}
        return Transforms("Albumentations", [crop, "HorizontalFlip"])
    resize = {"type": "SmallestMaxSize", "max_size": SHORTER, **sizing}
    return Transforms("Albumentations", [resize, {"type": "CenterCrop", "size": SIDE}])


def ours(
    folder: Path,
    form: Form,
    pixels: PixelSource | None = None,
    *,
    uint8: bool = False,
    antialias: bool = False,
    **options: Any,
) -> LoaderStream:
    """Our stream; with `uint8` the device is to make floats of the batch."""
    image = ImageTensorizer(None, dtype="uint8") if uint8 else ImageTensorizer()
    parts = Parts(
        ImageFolder(folder),
        pixels=FilePixels() if pixels is None else pixels,
        transforms=our_transforms(form, antialias=antialias),
        tensorizer=Tensorizer({"x": image, "class_id": IndexTensorizer()}),
    )
    return LoaderStream(parts, options={"batch_size": BATCH, "shuffle": form == "train", **options})


def our_ways(folder: Path, room: Path, form: Form, workers: int) -> dict[str, LoaderStream]:
    """All of ours by name; caches fill in their first epoch."""

    def threads(pixels: PixelSource | None = None, **more: Any) -> LoaderStream:
        return ours(folder, form, pixels, num_workers=workers, workers="threads", **more)

    def processes(pixels: PixelSource | None = None, **more: Any) -> LoaderStream:
        return ours(folder, form, pixels, num_workers=workers, workers="processes", **more)

    def packed(name: str = "whole", **more: Any) -> PackedCache:
        return PackedCache(None, room / f"packed-{name}-{form}", **more)

    return {
        "plain folder": threads(),
        "plain folder, antialiased": threads(antialias=True),
        "plain folder, scaled decoding": threads(FilePixels(Decoding(scaled=True))),
        "plain folder, uint8 delivered": threads(uint8=True),
        "plain folder, processes": processes(),
        "cache: ram": threads(MemoryCache()),
        "cache: packed": threads(packed()),
        "cache: packed, processes": processes(packed()),
        "cache: packed, processes, shorter 256": processes(packed("small", shorter=SHORTER)),
        "cache: packed, processes, uint8 delivered": processes(packed(), uint8=True),
    }


def peer_ways(folder: Path, form: Form, workers: int) -> tuple[dict[str, Epochs], list[str]]:
    """Every peer that is installed, and the names of those that are not."""
    ways: dict[str, Epochs] = {}
    missing = []
    for name, make in PEERS.items():
        try:
            ways[name] = make(folder, form, workers)
        except ImportError as error:
            missing.append(f"{name} is left out: {error}")
    return ways, missing


def torchvision_pil(folder: Path, form: Form, workers: int) -> Epochs:
    """As in torchvision's examples: PIL pictures through the first transforms."""
    from torchvision import datasets, transforms

    sizing = (
        [transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip()]
        if form == "train"
        else [transforms.Resize(SHORTER), transforms.CenterCrop(SIDE)]
    )
    ending = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    data = datasets.ImageFolder(str(folder), transforms.Compose([*sizing, *ending]))
    return _loader(data, form, workers)


def _v2(form: Form, first: list[Any]) -> Any:
    import torch
    from torchvision.transforms import v2

    sizing = (
        [v2.RandomResizedCrop(SIDE, antialias=True), v2.RandomHorizontalFlip()]
        if form == "train"
        else [v2.Resize(SHORTER, antialias=True), v2.CenterCrop(SIDE)]
    )
    return v2.Compose(
        [*first, *sizing, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    )


def torchvision_v2(folder: Path, form: Form, workers: int) -> Epochs:
    """Version 2 of the transforms, on tensors made from PIL pictures."""
    from torchvision import datasets
    from torchvision.transforms import v2

    return _loader(datasets.ImageFolder(str(folder), _v2(form, [v2.ToImage()])), form, workers)


def torchvision_own_decoder(folder: Path, form: Form, workers: int) -> Epochs:
    """Version 2 with torchvision's own JPEG decoder in place of PIL; few write it so."""
    from torchvision import datasets
    from torchvision.io import ImageReadMode, decode_image, read_file

    def read(path: str) -> Any:
        return decode_image(read_file(path), ImageReadMode.RGB)

    return _loader(datasets.ImageFolder(str(folder), _v2(form, []), loader=read), form, workers)


def timm_loader(folder: Path, form: Form, workers: int) -> Epochs:
    """timm's data set, transforms and collate; floats are made in its fast collate's stead."""
    from timm.data import create_dataset, create_loader

    loader = create_loader(
        create_dataset("", str(folder)),
        (3, SIDE, SIDE),
        BATCH,
        is_training=form == "train",
        use_prefetcher=False,
        no_aug=False,
        color_jitter=0.0,
        interpolation="bilinear",
        mean=MEAN,
        std=STD,
        crop_pct=SIDE / SHORTER,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=False,
        device="cpu",
    )
    return lambda epoch: iter(loader)


def albumentations_loader(folder: Path, form: Form, workers: int) -> Epochs:
    """Albumentations on pictures that OpenCV reads."""
    import os

    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations
    import cv2
    from albumentations.pytorch import ToTensorV2
    from torchvision import datasets

    sizing = (
        [albumentations.RandomResizedCrop((SIDE, SIDE)), albumentations.HorizontalFlip()]
        if form == "train"
        else [albumentations.SmallestMaxSize(SHORTER), albumentations.CenterCrop(SIDE, SIDE)]
    )
    steps = albumentations.Compose([*sizing, albumentations.Normalize(MEAN, STD), ToTensorV2()])

    def read(path: str) -> Any:
        cv2.setNumThreads(0)
        return cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)

    def change(pixels: Any) -> Any:
        return steps(image=pixels)["image"]

    return _loader(datasets.ImageFolder(str(folder), change, loader=read), form, workers)


def _loader(data: Any, form: Form, workers: int) -> Epochs:
    from torch.utils.data import DataLoader

    loader = DataLoader(
        data,
        BATCH,
        shuffle=form == "train",
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers else None,
    )
    return lambda epoch: iter(loader)


REFERENCE = ("torchvision, PIL", "torchvision, v2")
"""The faster of these is what others are measured by: ImageFolder as it is."""

PEERS: dict[str, Callable[[Path, Form, int], Epochs]] = {
    "torchvision, PIL": torchvision_pil,
    "torchvision, v2": torchvision_v2,
    "torchvision, v2 and its decoder": torchvision_own_decoder,
    "timm": timm_loader,
    "albumentations": albumentations_loader,
}
