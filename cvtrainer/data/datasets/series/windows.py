"""Windows over long series, for forecasting: `x` [window, C] and the `horizon` values after it.

Gaps in `x` are filled from inside the window only, so that nothing of the future leaks into it. A
window whose future has a gap, or whose channel has no value at all, is left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.series.labelled import SERIES_EXTENSIONS, read_series
from cvtrainer.data.datasets.series.record import Missing, Values, check_missing, filled
from cvtrainer.data.datasets.series.table import LongColumns, read_long
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.index import Index
from cvtrainer.data.sample import Sample


class SeriesWindows(StoredDataset):
    """Windows of a table (rows in order of time) or of the series of a `.ts`, `.arff`, `.tsf`.

    `value` is float32 [horizon] for one column and [horizon, C] for several. `columns` may be left
    out where only one column holds numbers; `series` names the column that tells several series
    apart. `part` takes a share of each series by time: (0, 0.8) to train, (0.8, 1) to validate.
    `left_out` counts windows that gaps made useless; `missing: refuse` leaves out any with a gap.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        window: int,
        horizon: int = 1,
        stride: int = 1,
        columns: Sequence[str] | None = None,
        series: str | None = None,
        missing: Missing = "interpolate",
        part: tuple[float, float] | Sequence[float] = (0.0, 1.0),
    ) -> None:
        path = Path(data_path)
        check_missing(missing, str(path))
        if min(window, horizon, stride) < 1 or len(part) != 2 or not 0 <= part[0] < part[1] <= 1:
            raise UserError(
                "window, horizon and stride must be 1 or more, part two rising shares of 0..1",
                where=str(path),
            )
        self.window, self.horizon, self.missing = window, horizon, missing
        self._series, self._places = _long_series(path, columns, series)
        numbers: list[NDArray[np.int64]] = []
        starts: list[NDArray[np.int64]] = []
        self.left_out = 0
        for number, values in enumerate(self._series):
            begin, end = (round(len(values) * share) for share in part)
            possible = np.arange(begin, end - window - horizon + 1, stride, dtype=np.int64)
            kept = possible[_usable(values, possible, window, horizon, missing)]
            self.left_out += len(possible) - len(kept)
            numbers.append(np.full(len(kept), number, dtype=np.int64))
            starts.append(kept)
        index = Index.of({"of": np.concatenate(numbers), "start": np.concatenate(starts)})
        if not len(index):
            raise UserError(
                f"no series has {window} + {horizon} values in a row that can be used",
                where=str(path),
                todo="Make window or horizon shorter.",
            )
        root = path.parent
        super().__init__(index, root=root, task="regression", classes=(), possible=("value",))
        self._name = path.name

    @property
    def groups(self) -> Sequence[Any] | None:
        """Which series each window is of, where there are several."""
        if len(self._series) == 1:
            return None
        return [self._places[number] for number in self.index.numbers("of").tolist()]

    def file(self, row: int) -> str:
        """The file, the series and the rows of that window."""
        number, start = self._at(row)
        place = f"{self._name}:{self._places[number]}".removesuffix(":")
        return f"{self.root / place}[{start}:{start + self.window}]"

    def input(self, row: int) -> Values:
        """The values [window, C] of that row."""
        number, start = self._at(row)
        values = self._series[number][start : start + self.window]
        return filled(values).copy() if self.missing == "interpolate" else values.copy()

    def field(self, name: str, row: int) -> Values:
        """The values that follow the window."""
        assert name == "value"
        number, start = self._at(row)
        begin = start + self.window
        future = self._series[number][begin : begin + self.horizon]
        return future[:, 0].copy() if future.shape[1] == 1 else future.copy()

    def _load_sample(self, idx: int) -> Sample:
        sample = super()._load_sample(idx)
        number, start = self._at(idx)
        sample["meta"].update(series=self._places[number], start=start)
        return sample

    def _at(self, row: int) -> tuple[int, int]:
        return self.index.value("of", row), self.index.value("start", row)


def _long_series(
    path: Path, columns: Sequence[str] | None, series: str | None
) -> tuple[list[Values], list[str]]:
    """The series of that file, and how messages call each."""
    if path.suffix.lower() in SERIES_EXTENSIONS:
        contents = read_series(path)
    else:
        contents = read_long(path, LongColumns(columns, series))
    good = [record for record in contents.records if record.problem is None]
    if good and columns is None and good[0].values.shape[1] > 1 and contents.classes is None:
        raise UserError(
            f"{good[0].values.shape[1]} columns hold numbers",
            where=str(path),
            todo="Name those to forecast in columns, e.g. columns: [demand].",
        )
    if not good:
        raise UserError("no series can be read", where=str(path))
    return [record.values for record in good], [record.place for record in good]


def _usable(
    values: Values, starts: NDArray[np.int64], window: int, horizon: int, missing: Missing
) -> NDArray[np.bool_]:
    """Which of these windows can be used."""
    gaps = np.zeros((len(values) + 1, values.shape[1]), dtype=np.int64)
    np.cumsum(np.isnan(values), axis=0, out=gaps[1:])
    middle = starts + window
    usable: NDArray[np.bool_] = (gaps[middle + horizon] - gaps[middle]).sum(axis=1) == 0
    inside = gaps[middle] - gaps[starts]
    if missing == "keep":
        return usable
    limit = 0 if missing == "refuse" else window - 1
    usable &= (inside <= limit).all(axis=1)
    return usable
