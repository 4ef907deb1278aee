"""A growing pile of numbers in little memory, and its figures."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Spread:
    """Collects numbers, four or eight bytes each; `figures` says how they are spread."""

    def __init__(self, *, double: bool = False) -> None:
        self._values = array("d" if double else "f")

    def add(self, value: float) -> None:
        """One more."""
        self._values.append(value)

    def extend(self, values: Any) -> None:
        """Many more."""
        self._values.extend(np.asarray(values, dtype=np.float64).ravel().tolist())

    def __len__(self) -> int:
        return len(self._values)

    def figures(self) -> dict[str, float] | None:
        """Count, least, most, mean, deviation and five quantiles of the finite ones."""
        values = np.frombuffer(self._values, dtype=self._values.typecode)
        finite = values[np.isfinite(values)].astype(np.float64)
        if not len(finite):
            return None
        found = {
            "count": float(len(finite)),
            "min": float(finite.min()),
            "max": float(finite.max()),
            "mean": float(finite.mean()),
            "std": float(finite.std()),
        }
        names = [f"p{round(q * 100):02d}" for q in _QUANTILES]
        found.update(zip(names, np.quantile(finite, _QUANTILES).tolist(), strict=True))
        found["median"] = found.pop("p50")
        return found

    def between(self, low: float, high: float) -> list[int]:
        """How many are below `low`, from there to `high`, and at or above `high`."""
        values = np.frombuffer(self._values, dtype=self._values.typecode)
        values = values[np.isfinite(values)]
        below, above = int((values < low).sum()), int((values >= high).sum())
        return [below, len(values) - below - above, above]
