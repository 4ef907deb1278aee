"""Is this machine fit to train? Python, torch, devices, packages, disk, folders, processors.

Everything is looked at, nothing is changed; whatever could be better says what to do. Only the
device question imports torch, and a torch that cannot be imported is a finding like any other.
"""

from __future__ import annotations

import enum
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REQUIRED = (
    "torch",
    "torchvision",
    "timm",
    "huggingface-hub",
    "albumentations",
    "opencv-python-headless",
    "simplejpeg",
    "numpy",
    "pillow",
    "pyarrow",
    "safetensors",
    "PyYAML",
    "tensorboard",
    "rich",
)
OPTIONAL = {
    "faster-coco-eval": ("coco", "mean average precision of boxes"),
    "h5py": ("data", "HDF5 files"),
    "openpyxl": ("data", "Excel tables"),
    "scikit-learn": ("demo", "the handwritten digits of the demo"),
    "coremltools": ("coreml", "Core ML files"),
    "executorch": ("executorch", "ExecuTorch files"),
    "torchao": ("int8", "8-bit numbers"),
    "litert-torch": ("litert", "LiteRT files"),
    "ai-edge-litert": ("litert", "running LiteRT files"),
    "ai-edge-quantizer": ("litert", "LiteRT files of 8-bit numbers"),
    "pytorch-lightning": ("lightning", "a stage as a LightningModule"),
    "lpips": ("lpips", "a loss between pictures"),
    "torchmetrics": ("metrics", "its metrics as meters"),
    "pnnx": ("ncnn", "ncnn files"),
    "ncnn": ("ncnn", "running ncnn files"),
    "onnx": ("onnx", "ONNX files"),
    "onnxruntime": ("onnx", "running ONNX files"),
    "onnxscript": ("onnx", "writing ONNX files"),
    "openvino": ("openvino", "OpenVINO files"),
    "segmentation-models-pytorch": ("smp", "its networks for segmentation"),
    "nvidia-modelopt": ("tensorrt", "8-bit networks for TensorRT"),
    "optuna": ("tune", "sweeps"),
    "wandb": ("wandb", "the W&B logger"),
}
OLDEST_PYTHON = (3, 11)
LOW_DISK_GB = 5.0


class Verdict(enum.Enum):
    """How a finding bears on training."""

    GOOD = "ok"
    NOTE = "note"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    topic: str
    value: str
    verdict: Verdict = Verdict.GOOD
    todo: str | None = None


def examine(folder: Path = Path()) -> list[Finding]:
    """Look at the machine and at the folder where runs would be written."""
    return [
        *_python(),
        *_required_packages(),
        *_devices(),
        *_optional_packages(),
        *_machine(),
        *_disk(folder),
        *_writable(folder),
    ]


def is_fit(findings: list[Finding]) -> bool:
    """Whether nothing found prevents training."""
    return all(finding.verdict is not Verdict.FAULT for finding in findings)


def _python() -> Iterator[Finding]:
    value = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info >= OLDEST_PYTHON:
        yield Finding("python", value)
    else:
        yield Finding("python", value, Verdict.FAULT, "Use Python 3.11 or newer.")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _required_packages() -> Iterator[Finding]:
    for package in REQUIRED:
        version = _version(package)
        if version is None:
            todo = f"pip install {package}"
            yield Finding(package, "not installed", Verdict.FAULT, todo)
        else:
            yield Finding(package, version)


def _optional_packages() -> Iterator[Finding]:
    for package, (extra, purpose) in OPTIONAL.items():
        version = _version(package)
        if version is None:
            todo = f'pip install "cvtrainer[{extra}]" brings {purpose}'
            yield Finding(package, "not installed", Verdict.NOTE, todo)
        else:
            yield Finding(package, version)


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:  # whatever a broken installation raises is the finding
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        yield Finding("devices", f"torch fails: {reason}", Verdict.FAULT, "Reinstall torch.")
        return
    yield Finding("device cpu", f"{torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        for place in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(place)
            memory_gb = facts.total_memory / 1e9
            yield Finding(f"device cuda:{place}", f"{facts.name}, {memory_gb:.0f} GB")
    else:
        yield Finding("device cuda", "none; runs train on the CPU", Verdict.NOTE)


def _machine() -> Iterator[Finding]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("processors", f"{usable} usable, {platform.machine()}")
    yield Finding("system", platform.platform(terse=True))


def _disk(folder: Path) -> Iterator[Finding]:
    free_gb = shutil.disk_usage(folder).free / 1e9
    value = f"{free_gb:.1f} GB free in {folder.resolve()}"
    if free_gb < LOW_DISK_GB:
        yield Finding("disk", value, Verdict.NOTE, "Checkpoints may not fit; free some space.")
    else:
        yield Finding("disk", value)


def _writable(folder: Path) -> Iterator[Finding]:
    runs = folder / "runs"
    places = {"run folder": runs if runs.is_dir() else folder}
    places["temporary files"] = Path(tempfile.gettempdir())
    for topic, place in places.items():
        try:
            with tempfile.TemporaryFile(dir=place):
                yield Finding(topic, f"{place.resolve()} can be written")
        except OSError as error:
            value = f"{place.resolve()} cannot be written ({error.strerror})"
            yield Finding(topic, value, Verdict.FAULT, "Change to a folder you may write to.")
