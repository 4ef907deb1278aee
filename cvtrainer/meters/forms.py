"""The forms in which outputs and targets may come, brought to one."""

from __future__ import annotations

from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.meters.labels import class_of_rows


def scores_and_labels(
    who: str, output: Tensor, target: Tensor, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Scores as `[samples, classes]` and class indices as `[samples]`.

    Scores come as `[N, C, ...]`, targets as indices `[N, ...]` or one value per class, of which the
    highest counts. Rows wholly of `ignore_index` are that; those of several labels or none are
    refused, or on a device given none of the classes.
    """
    output, target = output.detach(), target.detach()
    if output.ndim < 2 or output.shape[1] < 2:
        raise UserError(
            f"{who}: the output has the shape {list(output.shape)}; it needs one score "
            "per class, [N, C] with at least two classes"
        )
    if target.shape == output.shape:
        target = class_of_rows(who, target, ignore_index)
    elif target.ndim == output.ndim and target.shape[1] == 1:
        target = target.squeeze(1)
    if target.shape != output.shape[:1] + output.shape[2:]:
        raise UserError(
            f"{who}: the target has the shape {list(target.shape)} and the output "
            f"{list(output.shape)}; a target holds class indices or one value per class"
        )
    if output.ndim > 2:
        output = output.movedim(1, -1).flatten(0, -2)
    return output, target.reshape(-1).long()


def same_shape(who: str, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both as they are, where each value of one has its counterpart in the other."""
    output, target = output.detach(), target.detach()
    if output.ndim == target.ndim + 1 and output.shape[-1] == 1:
        output = output.squeeze(-1)
    if output.shape != target.shape:
        raise UserError(
            f"{who}: the output has the shape {list(output.shape)} and the target "
            f"{list(target.shape)}; they must be alike"
        )
    return output, target
