"""Sounds in class folders, or in one folder with the class in each name.

Sounds leave as `Encoded` like pictures do, unless a rate or one channel is asked for: then they
are brought to it here, so that every sample of the set has the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.image_folder import split_folder
from cvtrainer.data.datasets.reading.labelled_files import (
    class_order,
    files_by_folder,
    files_by_name,
)
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.decode.sound import SOUND_EXTENSIONS, decode_sound
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.index import Index
from cvtrainer.data.sample import Sample


class AudioFolder(StoredDataset):
    """WAV files: `x` float32 [T], or [C, T] for several channels; `class_id`; meta.sample_rate.

    `pattern` (`{label}_{speaker}_{take}.wav`, or a regular expression with the named groups
    `label` and `group`) tells the class from the path; without it the folder is the class. What
    the pattern calls `group` or `speaker` keeps samples together in a split. `sample_rate`
    resamples (windowed sinc), `mono` takes the mean of the channels, `split` names a folder below
    `data_path`.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        pattern: str | None = None,
        split: str | None = None,
        classes: Sequence[str] | None = None,
        sample_rate: int | None = None,
        mono: bool = False,
        extensions: Sequence[str] = SOUND_EXTENSIONS,
    ) -> None:
        root = split_folder(Path(data_path), split)
        if sample_rate is not None and sample_rate <= 0:
            raise UserError(f"sample_rate is {sample_rate}", where=str(root))
        if pattern is None:
            files = files_by_folder(root, extensions)
        else:
            files = files_by_name(root, extensions, pattern)
        names = class_order([file.label for file in files], classes, str(root))
        number = {name: k for k, name in enumerate(names)}
        columns = {
            "path": [file.path for file in files],
            "class_id": np.array([number[file.label] for file in files], dtype=np.int64),
        }
        if files[0].group is not None:
            columns["group"] = [file.group for file in files]
        super().__init__(Index.of(columns), root=root, task="classification", classes=names)
        self.sample_rate = sample_rate
        self.mono = mono

    def input(self, row: int) -> Encoded:
        """The sound file of that row."""
        return self.encoded("path", row, "sound")

    def _load_sample(self, idx: int) -> Sample:
        sample = super()._load_sample(idx)
        if self.sample_rate is None and not self.mono:
            return sample
        file: Encoded = sample["x"]
        sound = decode_sound(file.read(), file.name, rate=self.sample_rate, mono=self.mono)
        sample["x"] = sound.samples
        sample["meta"]["sample_rate"] = sound.rate
        return sample
