"""What most meters keep: named tensors that grow by addition, on whatever device they come from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cvtrainer.protocols import State


class Tally:
    """Sums under names; merging is adding."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def __bool__(self) -> bool:
        return bool(self._sums)

    def __getitem__(self, name: str) -> Tensor:
        return self._sums[name]

    def add(self, **values: Tensor) -> None:
        """Whole numbers are summed as such, others in double precision."""
        for name, value in values.items():
            value = value.detach()
            value = value.double() if value.is_floating_point() else value.long()
            known = self._sums.get(name)
            self._sums[name] = value if known is None else known.to(value.device) + value

    def count(self, name: str) -> int:
        """How many; 0 as well where an older state did not count that."""
        return int(self._sums[name]) if name in self._sums else 0

    def numbers(self) -> dict[str, float]:
        """All sums that are single numbers, in one reading of the device."""
        single = {name: value for name, value in self._sums.items() if value.ndim == 0}
        if not single:
            return {}
        read = torch.stack([value.double() for value in single.values()]).tolist()
        return dict(zip(single, read, strict=True))

    def reset(self) -> None:
        self._sums = {}

    def merge(self, states: Sequence[State]) -> None:
        self._sums = {}
        for state in states:
            self.add(**{name: value.cpu() for name, value in state.items()})

    def state_dict(self) -> State:
        return {name: value.clone() for name, value in self._sums.items()}

    def load_state_dict(self, state: State) -> None:
        self._sums = {name: value.clone() for name, value in state.items()}


class TallyMeter:
    """The state of a meter that keeps one tally and nothing else."""

    def __init__(self) -> None:
        self.tally = Tally()

    def reset(self) -> None:
        self.tally.reset()

    def merge(self, states: Sequence[State]) -> None:
        """Become the sum of these states."""
        self.tally.merge(states)

    def state_dict(self) -> State:
        return self.tally.state_dict()

    def load_state_dict(self, state: State) -> None:
        self.tally.load_state_dict(state)
