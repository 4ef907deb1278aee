"""What readings share: finding their output, naming classes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import Outputs


def output_named(outputs: Outputs, name: str, who: str) -> Tensor:
    """That output, or an error that says what there is instead."""
    if name not in outputs:
        raise UserError(
            f"the model gives no output {name!r}",
            where=f"task {who}",
            todo=f"There is {', '.join(outputs)}. Set the task's output to one of them.",
        )
    value: Tensor = outputs[name]
    return value


def class_name(number: int, classes: Sequence[str] | None) -> str:
    """The name of a class, or its number where names do not reach so far."""
    return classes[number] if classes is not None and number < len(classes) else str(number)
