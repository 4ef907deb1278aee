"""What somebody wants predictions of, for a packaged model whose input is arrays.

They are what the run's tensorizer makes: nothing is prepared here. An array with one dimension more
holds several.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.array_spec import ArraySpec
from cvtrainer.core.errors import BadSample, UserError
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.package.inputs import (
    ARRAY_EXTENSION,
    Given,
    array_in,
    each,
    files_of,
    fitting,
)
from cvtrainer.pictures.way_back import WayBack


class ArrayInputs:
    """See `inputs.Inputs`."""

    pictures: ClassVar[bool] = False

    def __init__(self, contract: Contract, spec: ArraySpec) -> None:
        self._contract = contract
        self._spec = spec

    def given(self, inputs: Any) -> Iterator[Given]:
        return each(inputs, self._of_one)

    def row(self, one: Given) -> tuple[NDArray[Any], WayBack | None]:
        if isinstance(one.value, BadSample):
            raise one.value
        assert isinstance(one.value, np.ndarray)
        wanted = self._contract.input.dtype
        if one.value.dtype.kind not in ("iub" if wanted.startswith("int") else "iubf"):
            what = f"the network takes {wanted} numbers, and this is {one.value.dtype}"
            raise BadSample(what, kind="value", where=one.name)
        return fitting(one.value, one.name, self._contract), None

    def _of_one(self, given: Any, name: str) -> Iterator[Given]:
        if isinstance(given, str | Path):
            for file in files_of(str(given), (ARRAY_EXTENSION,), "array (.npy)"):
                yield from self._of_file(file)
        elif isinstance(given, np.ndarray):
            yield from self._of_array(given, name)
        else:
            raise UserError(
                f"nothing can be predicted of a {type(given).__name__}",
                todo="This model takes arrays: give a numpy array, a .npy file, or a list of them.",
            )

    def _of_file(self, file: str) -> Iterator[Given]:
        if not file.lower().endswith(ARRAY_EXTENSION):
            what = f"this model takes arrays (.npy), which {self._spec.maker} makes of files"
            yield Given(file, BadSample(what, kind="value", where=file))
            return
        array = array_in(file)
        if isinstance(array, BadSample):
            yield Given(file, array)
        else:
            yield from self._of_array(array, file)

    def _of_array(self, array: NDArray[Any], name: str) -> Iterator[Given]:
        """The samples in an array."""
        if array.ndim != len(self._contract.input.shape):
            yield Given(name, array, ready=True)
            return
        for number, one in enumerate(array):
            yield Given(f"{name}[{number}]", one, ready=True)
