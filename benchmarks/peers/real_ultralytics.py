"""Ultralytics' smallest detector from random weights, for benchmarks/real.

Only its command is run, in an environment of its own; nothing of it is imported or read. The same
pictures and lists are laid out for it as it wants them, its best epoch is its own choice on val,
and what it finds on test is counted by our meter.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch

from cvtrainer.meters import BoxMAPMeter

SPLITS = Path(__file__).resolve().parents[1] / "real" / "splits"
CLASSES = {"bccd": ("Platelets", "RBC", "WBC")}
NETWORK = "yolo11n"
EPOCHS = 40
SIDE = 320

Box = tuple[float, float, float, float]


def main() -> int:
    """One line of JSON for each seed."""
    parser = argparse.ArgumentParser(description="Ultralytics' smallest detector, as a command")
    parser.add_argument("--set", choices=sorted(CLASSES), default="bccd")
    parser.add_argument("--data", type=Path, required=True, help="the folder of that set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        write_set(given.set, given.data.absolute(), place)
        for seed in given.seeds:
            print(json.dumps(one_seed(given.set, given.data, place, seed, given.epochs)))
    return 0


def one_seed(name: str, data: Path, place: Path, seed: int, epochs: int) -> dict[str, Any]:
    """Train into `place`, then count what is found on the test part."""
    before, start = _cpu_seconds(), time.perf_counter()
    words = [f"seed={seed}", f"epochs={epochs}", f"model={NETWORK}.yaml", "pretrained=False"]
    told = _yolo(place, "train", *words, "workers=0", "amp=False", f"name=seed{seed}")
    wall, cpu = time.perf_counter() - start, _cpu_seconds() - before
    best = place / "runs" / f"seed{seed}" / "weights" / "best.pt"
    words = [f"model={best}", "split=test", "save_json=True", f"name=test{seed}"]
    _yolo(place, "val", *words)
    found = json.loads((place / "runs" / f"test{seed}" / "predictions.json").read_text())
    counted = re.search(r"([\d,]+) parameters", told)
    return {
        "who": NETWORK,
        "seed": seed,
        "scores": {f"test/{key}": value for key, value in scores(name, data, found).items()},
        "wall_s": wall,
        "cpu_s": cpu,
        "parameters": int(counted[1].replace(",", "")) if counted else 0,
    }


def write_set(name: str, data: Path, place: Path) -> None:
    """Links to the pictures, a text file of boxes beside each, and the file that names them."""
    for part in ("train", "val", "test"):
        pictures, labels = place / "images" / part, place / "labels" / part
        pictures.mkdir(parents=True)
        labels.mkdir(parents=True)
        for one in _names(name, part):
            (pictures / f"{one}.jpg").symlink_to(data / "JPEGImages" / f"{one}.jpg")
            (width, height), objects = annotated(data, name, one)
            lines = [
                f"{kind} {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} "
                f"{(x2 - x1) / width} {(y2 - y1) / height}\n"
                for kind, (x1, y1, x2, y2) in objects
            ]
            (labels / f"{one}.txt").write_text("".join(lines), encoding="utf-8")
    parts = "".join(f"{part}: images/{part}\n" for part in ("train", "val", "test"))
    names = "".join(f"  {number}: {one}\n" for number, one in enumerate(CLASSES[name]))
    (place / "set.yaml").write_text(f"path: {place}\n{parts}names:\n{names}", encoding="utf-8")


def annotated(data: Path, name: str, one: str) -> tuple[tuple[int, int], list[tuple[int, Box]]]:
    """Width, height, and the objects that have an area, from the picture's XML file."""
    tree = ElementTree.parse(data / "Annotations" / f"{one}.xml")
    objects = []
    for found in tree.iter("object"):
        sides = ("xmin", "ymin", "xmax", "ymax")
        x1, y1, x2, y2 = (float(found.findtext(f"bndbox/{side}") or 0) for side in sides)
        if x2 > x1 and y2 > y1:
            kind = CLASSES[name].index((found.findtext("name") or "").strip())
            objects.append((kind, (x1, y1, x2, y2)))
    size = (int(tree.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    return (next(size), next(size)), objects


def scores(name: str, data: Path, found: list[dict[str, Any]]) -> dict[str, float]:
    """Our meter over the test part; the command counts classes from 1 where it writes JSON."""
    meter = BoxMAPMeter()
    for one in _names(name, "test"):
        mine = [entry for entry in found if str(entry["image_id"]) == one]
        _, objects = annotated(data, name, one)
        boxes = torch.tensor([entry["bbox"] for entry in mine]).reshape(1, -1, 4)
        boxes = torch.cat((boxes[..., :2], boxes[..., :2] + boxes[..., 2:]), dim=-1)
        right = torch.tensor([box for _, box in objects]).reshape(1, -1, 4)
        meter.update(
            boxes,
            torch.tensor([[entry["score"] for entry in mine]]),
            torch.tensor([[entry["category_id"] - 1 for entry in mine]]),
            right,
            torch.tensor([[kind for kind, _ in objects]]),
            torch.zeros(1, len(objects), dtype=torch.bool),
        )
    return meter.compute()


def _names(name: str, part: str) -> list[str]:
    return (SPLITS / f"{name}_{part}.txt").read_text(encoding="utf-8").split()


def _yolo(place: Path, verb: str, *words: str) -> str:
    """What the command prints."""
    where = [f"data={place / 'set.yaml'}", f"project={place / 'runs'}", f"imgsz={SIDE}"]
    command = [str(Path(sys.executable).with_name("yolo")), "detect", verb, *where, *words]
    surroundings = {**os.environ, "YOLO_CONFIG_DIR": str(place), "YOLO_OFFLINE": "true"}
    done = subprocess.run(
        [*command, "device=cpu", "plots=False"],
        cwd=place,
        env=surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"yolo {verb} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
