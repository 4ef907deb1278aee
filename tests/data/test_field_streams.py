"""Sounds, texts and series through the stream: the same batches from threads and processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cvtrainer.data.collate import Collate
from cvtrainer.data.datasets.audio_folder import AudioFolder
from cvtrainer.data.datasets.series import SeriesFile
from cvtrainer.data.datasets.text_lines import TextLines
from cvtrainer.data.pipeline import Parts
from cvtrainer.data.stream import LoaderStream
from cvtrainer.data.tensorizer import (
    AudioTensorizer,
    IndexTensorizer,
    LogMelTensorizer,
    SequenceTensorizer,
    Tensorizer,
    TextTensorizer,
)
from tests.data.sounds import wav_bytes


def sounds(folder: Path) -> AudioFolder:
    """Eleven sounds of growing length; the fourth is cut off."""
    for k in range(11):
        path = folder / f"{'ab'[k % 2]}_{k:02}.wav"
        path.write_bytes(wav_bytes(np.sin(np.arange(400 + 9 * k) / (k + 1)) / 2, 8000))
    (folder / "b_03.wav").write_bytes((folder / "b_03.wav").read_bytes()[:200])
    return AudioFolder(folder, pattern="{label}_{take}.wav")


def texts(folder: Path) -> TextLines:
    """Eleven sentences of growing length."""
    (folder / "a.txt").write_text("\n".join("one " * k + "好" for k in range(6)), "utf-8")
    (folder / "b.txt").write_text("\n".join("two " * k + "!" for k in range(1, 6)))
    return TextLines(folder)


def series(folder: Path) -> SeriesFile:
    """Eleven series of growing length; one cannot be read."""
    rows = [",".join(str(v) for v in range(k + 1)) + f":{'ab'[k % 2]}" for k in range(11)]
    rows[4] = "1,x:a"
    (folder / "a.ts").write_text("@classlabel true a b\n@data\n" + "\n".join(rows))
    return SeriesFile(folder / "a.ts")


CASES: dict[str, tuple[Callable[[Path], Any], Any]] = {
    "audio": (sounds, AudioTensorizer()),
    "log_mel": (sounds, LogMelTensorizer(8000, mels=8)),
    "text": (texts, TextTensorizer()),
    "series": (series, SequenceTensorizer()),
}


def batches(parts: Parts, **options: Any) -> list[Any]:
    """The second epoch."""
    stream = LoaderStream(parts, seed=3, options={"batch_size": 4, "shuffle": True, **options})
    try:
        return list(stream.epoch(2))
    finally:
        stream.close()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("workers", ["threads", "processes"])
def test_batches_are_the_same_whoever_makes_them(case: str, workers: str, tmp_path: Path) -> None:
    make, part = CASES[case]
    dataset = make(tmp_path)
    tensorizer = Tensorizer({"x": part, "class_id": IndexTensorizer(2)})
    tensorizer.learn(dataset)
    collate = Collate(ragged=tensorizer.ragged)
    parts = Parts(dataset, tensorizer=tensorizer, collate=collate)
    plain = batches(parts)
    assert [len(batch["meta"]["index"]) for batch in plain] == [4, 4, 3]
    for one, other in zip(plain, batches(parts, num_workers=2, workers=workers), strict=True):
        assert one["meta"] == other["meta"]
        assert torch.equal(one["x"], other["x"])
        assert torch.equal(one["x_padding"], other["x_padding"])
        assert torch.equal(one["target"]["class_id"], other["target"]["class_id"])
        real = ~one["x_padding"]
        assert real.any(dim=1).all()
        dim = tensorizer.ragged["x"] + 1
        assert one["x"].shape[dim] == one["x_padding"].shape[1]
    broken = {"audio": 7, "log_mel": 7, "series": 4}.get(case)
    assert broken not in [k for batch in plain for k in batch["meta"]["index"]]
