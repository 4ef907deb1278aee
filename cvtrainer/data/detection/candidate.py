"""What may lie at a path, and why one thinks so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Candidate:
    """A data set's short name with the arguments that open it.

    A `weak` one counts only where no other is found. `parts` are the splits or files it has; where
    `choose` is not empty, one must be chosen: by `split`, or by giving the file. `tasks` are those
    it can serve, empty for unknown.
    """

    type: str
    data_path: str
    evidence: tuple[str, ...]
    words: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    choose: Literal["", "split", "file"] = ""
    weak: bool = False

    @property
    def node(self) -> dict[str, Any]:
        """The node of a config that says the same."""
        return {"type": self.type, "kwargs": {"data_path": self.data_path, **self.words}}

    def because(self, reason: str) -> Candidate:
        """The same with a further reason, which stands first."""
        return replace(self, evidence=(reason, *self.evidence))
