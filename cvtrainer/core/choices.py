"""A word that must be one of some: the error names them, and the one that was likely meant."""

from __future__ import annotations

from collections.abc import Sequence

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest


def insist_on_choice(value: str, known: Sequence[str], *, where: str) -> None:
    """Refuse any other."""
    if value not in known:
        meant = nearest(value, known)
        hint = f"; did you mean {meant}?" if meant else ""
        raise UserError(f"{value!r} is none of {', '.join(known)}{hint}", where=where)
