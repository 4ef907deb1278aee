"""Which samples belong to which part: by ratio, stratified, by group, k-fold, or as given.

Pure functions of the data and a seed. A sample is known by its path below the root or by its text
(by its number where it has neither), so moving the folder, or adding files, changes no hash.
What then holds: without strata a sample stays in its part for ever; with strata the counts are
exact, and m added samples of a class move at most m others of it; groups stay whole always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.core.seeds import mix
from cvtrainer.data.splits.part_lists import numbers_in_column, numbers_in_list
from cvtrainer.data.splits.partition import by_groups, by_hash, by_strata, hashes_of
from cvtrainer.data.splits.subset import Subset

_DEFAULT = {"train": 0.8, "val": 0.2}
_PLACE = 0x5B117

Numbers = NDArray[np.int64]


class Split:
    """One part of a data set: `Split("val", ratio={"train": 0.8, "val": 0.2})`.

    `stratify` keeps the share of each class; by default where each sample has one class. `group`
    names what must stay together: `group` as the data set has it, or a column of its index.
    `folds: 5, fold: 0` gives fold 0 as val and the others as train. `given` takes the parts as
    they are: a column of the index, or a folder of lists (`train.txt`, `val.txt`), or one list.
    """

    def __init__(
        self,
        part: str,
        *,
        ratio: Mapping[str, float] | None = None,
        stratify: bool | None = None,
        group: str | None = None,
        folds: int | None = None,
        fold: int = 0,
        seed: int = 0,
        given: str | None = None,
    ) -> None:
        self.part = part
        self.ratio = _checked_ratio(ratio)
        self.stratify = stratify
        self.group = group
        self.folds = folds
        self.fold = fold
        self.seed = seed
        self.given = given
        if folds is not None:
            _check_folds(part, folds, fold, ratio)
        elif given is None and part not in self.ratio:
            raise UserError(
                f"the ratio has no part {part!r}", todo=f"There is {', '.join(self.ratio)}."
            )
        if given is not None and (ratio is not None or folds is not None or group is not None):
            raise UserError("a split is given, or made by ratio, group or folds, not both")
        if group is not None and stratify is None:
            self.stratify = False

    def of(self, dataset: Any) -> Subset:
        """The part as a data set."""
        return Subset(dataset, self.numbers(dataset))

    def numbers(self, dataset: Any) -> Numbers:
        """The numbers of the samples of the part, ascending."""
        if self.given is not None:
            return self._given(dataset)
        names, shares = self._parts()
        part_of = self._assigned(dataset, shares)
        counts = np.bincount(part_of, minlength=len(names))
        if not counts.all():
            empty = names[int(np.flatnonzero(counts == 0)[0])]
            raise UserError(
                f"part {empty} of {len(dataset)} samples is empty",
                where=_name(dataset),
                todo="Give it a larger share, stratify, or use another seed.",
            )
        if self.folds is None:
            return np.flatnonzero(part_of == names.index(self.part))
        return np.flatnonzero((part_of == self.fold) == (self.part == "val"))

    def _parts(self) -> tuple[list[str], NDArray[np.float64]]:
        if self.folds is not None:
            return [f"fold {k}" for k in range(self.folds)], np.full(self.folds, 1 / self.folds)
        return list(self.ratio), np.asarray(list(self.ratio.values()))

    def _assigned(self, dataset: Any, shares: NDArray[np.float64]) -> Numbers:
        """The part of each sample."""
        labels = self._labels(dataset)
        key = mix(self.seed, _PLACE)
        if self.group is not None:
            return by_groups(_groups(dataset, self.group), labels, shares, key)
        hashes = hashes_of(dataset, key)
        if labels is None:
            return by_hash(hashes, shares)
        return by_strata(hashes, labels, shares)

    def _labels(self, dataset: Any) -> Numbers | None:
        if self.stratify is False:
            return None
        labels = getattr(dataset, "labels", None)
        if labels is None:
            if self.stratify:
                raise UserError(
                    "samples without a single class cannot be stratified",
                    where=_name(dataset),
                    todo="Leave stratify out.",
                )
            return None
        return np.asarray(labels, dtype=np.int64)

    def _given(self, dataset: Any) -> Numbers:
        assert self.given is not None
        if self.given in getattr(dataset, "index", ()):
            found = numbers_in_column(dataset, self.given, self.part)
        else:
            found = numbers_in_list(dataset, self.given, self.part)
        if not len(found):
            raise UserError(f"part {self.part} is empty", where=self.given)
        return found


def _checked_ratio(ratio: Mapping[str, float] | None) -> dict[str, float]:
    shares = {str(name): float(share) for name, share in (ratio or _DEFAULT).items()}
    if min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(
            f"the ratio {' : '.join(f'{s:g}' for s in shares.values())} does not add up to 1",
            todo="Give shares above 0, e.g. {train: 0.8, val: 0.2}.",
        )
    return shares


def _check_folds(part: str, folds: int, fold: int, ratio: Mapping[str, float] | None) -> None:
    if ratio is not None:
        raise UserError("a split has a ratio or folds, not both")
    if folds < 2 or not 0 <= fold < folds:
        raise UserError(
            f"fold {fold} of {folds}", todo="Use two folds or more; the first is fold 0."
        )
    if part not in ("train", "val"):
        raise UserError(f"folds have no part {part!r}", todo="Use train or val.")


def _groups(dataset: Any, name: str) -> Sequence[Any]:
    index = getattr(dataset, "index", None)
    if index is not None and name in index:
        found: Sequence[Any] = index.column(name).to_pylist()
        return found
    groups = getattr(dataset, "groups", None)
    if name != "group" or groups is None:
        raise UserError(
            f"the data set has no column {name!r} to group by",
            where=_name(dataset),
            todo=f"There is {', '.join(index.names)}." if index is not None else None,
        )
    return list(groups)


def _name(dataset: Any) -> str:
    return str(getattr(dataset, "root", None) or type(dataset).__name__)
