"""What an artefact says, decoded here where its target has no operators for that."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from cvtrainer.deploy.runtime.runner import Arrays, Runner
from cvtrainer.telling.reading import Telling


class Decoded:
    """A runner whose outputs hold everything that the reading adds, at its operating point."""

    def __init__(self, runner: Runner, telling: Telling) -> None:
        self._runner = runner
        self._telling = telling

    def __call__(self, inputs: NDArray[Any]) -> Arrays:
        outputs = self._runner(inputs)
        if not set(self._telling.decoded) <= set(outputs):
            outputs = {**outputs, **self._telling.decode(outputs)}
        return self._telling.applied(outputs)
