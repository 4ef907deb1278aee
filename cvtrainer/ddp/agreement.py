"""All processes end a stage at one and the same border, whichever of them wants to end it.

Every now and then each rank posts its wish and looks at the outcome of the post before, which has
long come in. So nobody waits, and all see the same outcome at the same border. At the end of an
epoch they wait for each other.
"""

from __future__ import annotations

from time import monotonic
from typing import Protocol

import torch
from torch import Tensor, distributed

GO_ON, STOP, INTERRUPTED = 0, 1, 2

_PERIOD_S = 0.1
_MOST_BORDERS = 256


class Agreement(Protocol):
    """Asked at every border by all ranks alike; the greatest wish counts."""

    def border(self, wish: int) -> int:
        """Between two batches: what was agreed, perhaps of an earlier wish."""
        ...

    def settle(self, wish: int) -> int:
        """Between two epochs: what is agreed now."""
        ...

    def meet(self) -> None:
        """Wait until all have come here."""
        ...


def agreement(world_size: int) -> Agreement:
    """A collective where there are several processes: all of them must ask for it."""
    return _Together() if world_size > 1 else _Alone()


class _Alone:
    def border(self, wish: int) -> int:
        return wish

    def settle(self, wish: int) -> int:
        return wish

    def meet(self) -> None:
        """Nobody else is there."""


class _Together:
    """Posts so often that a wish is known within a fraction of a second, or at every border."""

    def __init__(self) -> None:
        group = distributed.new_group(backend="gloo")
        assert isinstance(group, distributed.ProcessGroup), "all ranks are members"
        self._group = group
        self._post: tuple[Tensor, distributed.Work] | None = None
        self._until_next = 1
        self._passed = 0
        self._posted_at = monotonic()

    def border(self, wish: int) -> int:
        self._passed += 1
        if self._passed < self._until_next:
            return GO_ON
        agreed = self._outcome()
        if agreed == GO_ON:
            self._send(wish)
        return agreed

    def settle(self, wish: int) -> int:
        agreed = self._outcome()
        if agreed == GO_ON:
            self._send(wish)
            agreed = self._outcome()
        return agreed

    def meet(self) -> None:
        distributed.barrier(self._group)

    def _send(self, wish: int) -> None:
        """The wish, and after how many borders to look, as this rank's pace suggests."""
        now = monotonic()
        each = (now - self._posted_at) / max(1, self._passed)
        borders = min(_MOST_BORDERS, max(1, int(_PERIOD_S / max(each, 1e-6))))
        self._posted_at, self._passed = now, 0
        words = torch.tensor([wish, borders])
        work = distributed.all_reduce(
            words, op=distributed.ReduceOp.MAX, group=self._group, async_op=True
        )
        assert work is not None, "this rank is a member"
        self._post = words, work

    def _outcome(self) -> int:
        if self._post is None:
            return GO_ON
        words, work = self._post
        self._post = None
        work.wait()
        agreed, self._until_next = words.tolist()
        return int(agreed)
