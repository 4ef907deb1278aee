"""What the ranks' watches write for each other: who failed first, and who stands where.

It lies in the corner of the launcher's store that belongs to this start of the ranks, so all
machines see it. A store that is gone means that its machine has failed.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

from torch import distributed

from cvtrainer.ddp.meeting import Meeting, this_machine

_FIRST, _ASKED, _PLACE = "first_to_fail", "asked", "place/"
_BROKEN = (distributed.DistError, RuntimeError)


@dataclass(frozen=True)
class Answer:
    """Where a rank stands, told by its watch."""

    place: str
    doing: str
    waits: bool
    overdue: bool


class Board:
    """One rank's view of it."""

    def __init__(self, rank: int, world_size: int, meeting: Meeting) -> None:
        self.rank = rank
        self.world_size = world_size
        self.store = meeting.own_line()
        self._questions = 0
        self._node = os.environ.get("GROUP_RANK", "0")
        self.store.set(f"{_PLACE}{rank}", json.dumps([self._node, this_machine(), os.getpid()]))

    def claim(self, for_rank: int | None = None) -> bool:
        """Whether this process is the first to know of a failure, or cannot know it.

        When the store has gone with another process, one of each machine is to tell.
        """
        failed = str(self.rank if for_rank is None else for_rank)
        own = f"{failed} {self.rank}"
        try:
            first = self.store.compare_set(_FIRST, "", own).decode()
        except _BROKEN:
            return for_rank is None or os.environ.get("LOCAL_RANK", "0") == "0"
        return first == own

    def another_failed(self) -> bool:
        """Whether some other process has failed."""
        try:
            if not self.store.check([_FIRST]):
                return False
            failed, teller = self.store.get(_FIRST).decode().split()
        except _BROKEN:
            return True
        return int(failed) != self.rank or int(teller) != self.rank

    def is_far(self, rank: int) -> bool:
        """Whether that rank runs under another launcher than this one."""
        try:
            return bool(json.loads(self.store.get(f"{_PLACE}{rank}"))[0] != self._node)
        except _BROKEN:
            return True

    def process_here(self, rank: int) -> int | None:
        """The number of that rank's process, if it is one of this machine."""
        try:
            _, machine, number = json.loads(self.store.get(f"{_PLACE}{rank}"))
        except _BROKEN:
            return None
        return int(number) if machine == this_machine() else None

    def ask(self) -> None:
        """Let all ranks say where they stand."""
        self._questions += 1
        self.store.set(_ASKED, f"{self.rank}.{self._questions}")

    def question(self) -> str:
        """The latest question; empty before the first."""
        try:
            return self.store.get(_ASKED).decode() if self.store.check([_ASKED]) else ""
        except _BROKEN:
            return ""

    def answer(self, question: str, answer: Answer) -> None:
        """To all who want to know."""
        try:
            self.store.set(f"{question}/{self.rank}", json.dumps(asdict(answer)))
        except _BROKEN:
            return

    def answers(self, question: str) -> dict[int, Answer]:
        """Those that have come in so far."""
        found: dict[int, Answer] = {}
        for rank in range(self.world_size):
            key = f"{question}/{rank}"
            if self.store.check([key]):
                found[rank] = Answer(**json.loads(self.store.get(key)))
        return found
