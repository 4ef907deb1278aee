"""Which readings there are, and how one comes back from a contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.telling.classification import Classification, MultiLabel
from cvtrainer.telling.detection import Detection
from cvtrainer.telling.instances import Instances
from cvtrainer.telling.keypoints import Keypoints
from cvtrainer.telling.pictures import Pictures, Plain
from cvtrainer.telling.reading import Telling
from cvtrainer.telling.regression import Regression
from cvtrainer.telling.segmentation import Segmentation
from cvtrainer.telling.several import Several

KINDS: dict[str, type[Telling]] = {
    one.kind: one
    for one in (
        Classification,
        MultiLabel,
        Regression,
        Segmentation,
        Keypoints,
        Detection,
        Instances,
        Pictures,
        Plain,
        Several,
    )
}


def telling_of(node: Mapping[str, Any] | None, where: str, depth: int = 0) -> Telling:
    """The reading of a contract; one of somebody's own tells outputs as they are."""
    told = node or {"type": Plain.kind}
    kind = KINDS.get(str(told.get("type")))
    if kind is None:
        return Plain()
    try:
        given = dict(told.get("kwargs") or {})
        if not isinstance(given.get("output", ""), str):
            raise TypeError(f"the output {given['output']!r} is no name")
        if kind is Several and depth < 3:
            given["readings"] = {
                str(name): telling_of(one, where, depth + 1)
                for name, one in dict(given["readings"]).items()
            }
        return kind(**given)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"the contract's reading is damaged ({error})", where=where) from error
