"""Several heads on the same features, each under a name of its own.

A head that gives one tensor gives it by that name; what a head gives by names of its own has the
head's name before them. Of maps of several sizes, heads for vectors get the coarsest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from cvtrainer.core.errors import UserError


class SeveralHeads(nn.ModuleDict):
    """Features to `{name: output}`."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")
    OF_PARTS: ClassVar[bool] = True

    def __init__(self, heads: Mapping[str, nn.Module]) -> None:
        if not heads:
            raise UserError("head names no head", todo="Give {name: {type: multiclass, ...}}.")
        odd = [name for name, head in heads.items() if not isinstance(head, nn.Module)]
        if odd:
            raise UserError(f"head {odd[0]} is no torch module", todo="Give it a `type`.")
        super().__init__(dict(heads))
        self.takes_size = any(getattr(head, "takes_size", False) for head in heads.values())
        self.pooling: tuple[str, ...] = ()
        """Names of those that get the coarsest map alone."""

    def forward(
        self,
        features: Tensor | Sequence[Tensor],
        size: tuple[int, int] | None = None,
        coarsest: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """`coarsest` is that of the backbone, where the features do not have it."""
        made: dict[str, Tensor] = {}
        for name, head in self.items():
            given = features
            if name in self.pooling:
                given = features[-1] if coarsest is None else coarsest
            takes_size = getattr(head, "takes_size", False)
            output = head(given, size) if takes_size else head(given)
            own = {name: output}
            if isinstance(output, Mapping):
                own = {f"{name}_{inner}": value for inner, value in output.items()}
            twice = next((one for one in own if one in made), None)
            if twice is not None:
                raise UserError(
                    f"two heads give an output {twice}", where="head", todo=f"Rename head {name}."
                )
            made |= own
        return made


def heads_of(head: nn.Module) -> Sequence[nn.Module]:
    """Each head, of one or of several."""
    return list(head.values()) if isinstance(head, SeveralHeads) else [head]
