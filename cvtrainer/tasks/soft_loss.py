"""How far a student's scores are from a teacher's, both softened by a temperature.

Where classes exclude each other, it is the divergence of their shares (`softmax`); where each score
answers for itself, the mean over scores of the divergence of yes and no (`sigmoid`), as binary
cross entropy is a mean over them. Both count times the squared temperature.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import Outputs, Reading
from cvtrainer.tasks.classification import Classification, MultiLabelClassification
from cvtrainer.tasks.reading import output_named

KINDS = ("softmax", "sigmoid")

_OF_EACH_SCORE = frozenset(
    (
        "BCEWithLogitsLoss",
        "MultiLabelSoftMarginLoss",
        "QualityFocalLoss",
        "BinaryCrossEntropy",
        "AsymmetricLossMultiLabel",
    )
)
_OF_ALL_SCORES = frozenset(("CrossEntropyLoss", "MultiMarginLoss"))
_OF_PLACES = "HeatmapLoss"
"""Its scores are those of the places of a map."""


class SoftLoss:
    """`soft` is its factor, or `{factor: ..., kind: softmax|sigmoid}`.

    Without a `kind` the reading of these scores says how they are meant, else the criterion.
    """

    def __init__(
        self,
        soft: float | Mapping[str, Any],
        output: str,
        temperature: float,
        reading: Reading | None,
        criterion: nn.Module | None,
    ) -> None:
        given = dict(soft) if isinstance(soft, Mapping) else {"factor": soft}
        unknown = sorted(set(given) - {"factor", "kind"})
        if unknown:
            raise UserError(
                f"{unknown[0]!r} is not understood",
                where="task distillation: soft",
                todo="It has factor and kind.",
            )
        factor, kind = given.get("factor", 1.0), given.get("kind")
        if kind is not None and kind not in KINDS:
            raise UserError(
                f"kind is {kind!r}; it can be {', '.join(KINDS)}", where="task distillation: soft"
            )
        self.factor = float(factor)
        self.kind: str = kind or _kind_by_reading(reading, output) or _kind_of(criterion, output)
        self.output = output
        self.temperature = temperature
        self._finds_places = criterion is not None and any(
            _OF_PLACES in _names_of(one) for one in _judges(criterion, output)
        )
        self._detects = criterion is not None and any(
            output in getattr(one, "CLASS_NUMBERS", {}).values() for one in criterion.modules()
        )

    def __call__(self, own: Outputs, taught: Outputs, teacher: str) -> Tensor:
        scores = output_named(own, self.output, "distillation")
        wanted = output_named(taught, self.output, f"distillation: {teacher}")
        if scores.ndim == 3 and (self._detects or "anchors" in own):
            raise UserError(
                f"{self.output!r} {list(scores.shape)} holds a detector's scores of anchors, "
                "which cannot be softened like classes of a sample",
                where="task distillation",
                todo="Set soft: 0 and compare features.",
            )
        if scores.ndim == 4 and self._finds_places:
            raise UserError(
                f"{self.output!r} {list(scores.shape)} holds maps of keypoints, whose scores are "
                "those of places and cannot be softened like classes",
                where="task distillation",
                todo="Set soft: 0 and compare features.",
            )
        if scores.shape != wanted.shape or scores.ndim < 2:
            raise UserError(
                f"the student's {self.output!r} has the shape {list(scores.shape)}, that of "
                f"{teacher} {list(wanted.shape)}",
                where="task distillation",
                todo="Both need the same classes; or set soft: 0 and compare features.",
            )
        apart = _of_each if self.kind == "sigmoid" else _of_all
        ours, theirs = (one.float() / self.temperature for one in (scores, wanted))
        return apart(ours, theirs).mean() * self.temperature**2


def _of_each(ours: Tensor, theirs: Tensor) -> Tensor:
    """The divergence of yes and no, for each score."""
    yes, no = (
        functional.kl_div(
            functional.logsigmoid(sign * ours),
            functional.logsigmoid(sign * theirs),
            reduction="none",
            log_target=True,
        )
        for sign in (1, -1)
    )
    return yes + no


def _of_all(ours: Tensor, theirs: Tensor) -> Tensor:
    """The divergence of the shares of the classes; one score alone means yes or no."""
    if ours.shape[1] == 1:
        return _of_each(ours, theirs)
    return functional.kl_div(
        ours.log_softmax(dim=1), theirs.log_softmax(dim=1), reduction="none", log_target=True
    ).sum(dim=1)


def _kind_by_reading(reading: Reading | None, output: str) -> str | None:
    """What these scores are read as, alone or among others under their name."""
    found = getattr(reading, "readings", {}).get(output)
    if found is None and getattr(reading, "output", None) == output:
        found = reading
    if isinstance(found, MultiLabelClassification):
        return "sigmoid"
    return "softmax" if isinstance(found, Classification) else None


def _kind_of(criterion: nn.Module | None, output: str) -> str:
    """`sigmoid` where what judges these scores takes each of them for itself."""
    if criterion is None:
        return "softmax"
    kinds = {_kind_of_one(one) for one in _judges(criterion, output)}
    return "sigmoid" if "sigmoid" in kinds and "softmax" not in kinds else "softmax"


def _judges(criterion: nn.Module, output: str) -> Iterable[nn.Module]:
    """Of several criteria those that are bound to the output, if there are any."""
    parts = getattr(criterion, "parts", {})
    bound = [one.module for one in parts.values() if output in (one.bind or {}).values()]
    return [part for one in bound or [criterion] for part in one.modules()]


def _kind_of_one(module: nn.Module) -> str | None:
    activation = getattr(module, "activation", None)
    if activation in KINDS:
        return str(activation)
    names = _names_of(module)
    if names & _OF_EACH_SCORE:
        return "sigmoid"
    return "softmax" if names & _OF_ALL_SCORES else None


def _names_of(module: nn.Module) -> frozenset[str]:
    """Of its class and of those that it is made from."""
    return frozenset(one.__name__ for one in type(module).__mro__)
