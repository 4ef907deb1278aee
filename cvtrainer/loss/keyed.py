"""Losses under keys, for code that calls its losses itself.

One pair of output and target goes to every loss of every key; a mapping gives each key inputs of
its own. Configs need none of this: there every criterion binds its fields by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from cvtrainer.core.errors import UserError

Inputs = Sequence[Tensor] | Mapping[str, Tensor]
"""What a loss is called with: in its order, or under the names that it `takes`."""


class LossTerm(nn.Module):
    """A loss, how often it counts, and the names of its inputs in their order."""

    def __init__(
        self, loss: nn.Module, weight: float = 1.0, takes: Sequence[str] = ("input", "target")
    ) -> None:
        super().__init__()
        self.loss = loss
        self.weight = float(weight)
        self.takes = tuple(takes)

    def forward(self, inputs: Any) -> Tensor:
        """The loss of these `Inputs` as it is, without its weight."""
        if isinstance(inputs, Tensor | str):
            raise UserError(
                f"{type(self.loss).__name__} is given one {type(inputs).__name__} as its inputs",
                todo=f"Give {', '.join(self.takes)} together; below a key, a list of such.",
            )
        if isinstance(inputs, Mapping):
            if set(inputs) != set(self.takes):
                raise UserError(
                    f"{type(self.loss).__name__} takes {', '.join(self.takes)} and is given "
                    f"{', '.join(map(str, inputs)) or 'nothing'}"
                )
            inputs = [inputs[name] for name in self.takes]
        elif len(inputs) != len(self.takes):
            raise UserError(
                f"{type(self.loss).__name__} takes {len(self.takes)} inputs "
                f"({', '.join(self.takes)}) and is given {len(inputs)}"
            )
        value: Tensor = self.loss(*inputs)
        return value

    def extra_repr(self) -> str:
        return f"weight={self.weight:g}, takes={self.takes}"


class KeyedLosses(nn.Module):
    """`loss`, the weighted sum, and the value of each term: `<key>`, or `<key>_<place>` of several.

    Called with a pair, or with inputs by name, all terms of all keys get the same. Called with
    `{key: [inputs, ...]}`, a key's terms and inputs belong together one by one; a single term gets
    all of the inputs, and a single input goes to all terms.
    """

    def __init__(self, terms: Mapping[str, Sequence[nn.Module]]) -> None:
        super().__init__()
        empty = [key for key, each in terms.items() if not each]
        if not terms or empty:
            raise UserError(f"KeyedLosses: {', '.join(empty) or 'terms'} names no loss; give one")
        names = [name for key, each in terms.items() for name in _names(key, len(each))]
        twice = next((name for name in ["loss", *names] if ["loss", *names].count(name) > 1), None)
        if twice is not None:
            raise UserError(
                f"KeyedLosses: two parts would be called {twice}",
                todo="Name that key otherwise.",
            )
        self.terms = nn.ModuleDict(
            {
                key: nn.ModuleList(
                    one if isinstance(one, LossTerm) else LossTerm(one) for one in each
                )
                for key, each in terms.items()
            }
        )

    def forward(self, given: Inputs | Mapping[str, Sequence[Inputs]]) -> dict[str, Tensor]:
        parts: dict[str, Tensor] = {}
        total: Tensor | None = None
        for name, term, inputs in self._calls(given):
            value = term(inputs)
            weighted = term.weight * value
            # Not in place: the first sum would be a term's own tensor.
            parts[name] = value if name not in parts else parts[name] + value
            total = weighted if total is None else total + weighted
        assert total is not None, "there is a term for each key"
        return {"loss": total, **parts}

    def _calls(self, given: Any) -> Iterator[tuple[str, LossTerm, Inputs]]:
        own = isinstance(given, Mapping) and bool(set(given) & set(self.terms))
        if own and set(given) != set(self.terms):
            raise UserError(
                f"KeyedLosses has the keys {', '.join(self.terms)} and is given "
                f"{', '.join(map(str, given))}"
            )
        for key, terms in self.terms.items():
            assert isinstance(terms, nn.ModuleList)
            pairs = list(zip(_names(key, len(terms)), terms, strict=True))
            inputs = _listed(key, given[key]) if own else [given]
            if len(pairs) == 1:
                pairs *= len(inputs)
            elif len(inputs) == 1:
                inputs *= len(pairs)
            if len(pairs) != len(inputs) or not inputs:
                raise UserError(
                    f"KeyedLosses: {key} has {len(terms)} losses and is given {len(inputs)} inputs",
                    todo="Give as many as there are losses, or one for all; one loss takes any.",
                )
            for (name, term), one in zip(pairs, inputs, strict=True):
                assert isinstance(term, LossTerm)
                yield name, term, one


def _names(key: str, count: int) -> list[str]:
    """What the values of a key's terms are called."""
    return [key] if count == 1 else [f"{key}_{place}" for place in range(count)]


def _listed(key: str, inputs: Any) -> list[Inputs]:
    if isinstance(inputs, Mapping | Tensor | str):
        raise UserError(
            f"KeyedLosses: {key} is given a {type(inputs).__name__}",
            todo="Give a list of inputs, each a pair or a mapping.",
        )
    return list(inputs)
