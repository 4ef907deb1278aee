"""Errors about input: one line that says where, what, and what to do.

A `UserError` never shows a traceback; the command line turns it into its exit code. Errors in a
config are collected first and told together, as `ConfigErrors`. An exception from the user's own
code is not wrapped here: it keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cvtrainer.core.tree import Mark


class UserError(Exception):
    """Something outside the program is wrong and its owner can put it right."""

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, todo: str | None = None) -> None:
        super().__init__(what, where, todo)
        self.what = what
        self.where = where
        self.todo = todo

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        if not self.todo:
            return line
        return f"{line if line[-1:] in '.!?' else line + '.'} {self.todo}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Worker processes hand errors over as pickles; a constructor may take other arguments."""
        return _made_again, (type(self), self.args), self.__dict__


class RunFailed(UserError):  # noqa: N818 (says what happened)
    """The input was right, but the run could not go on (disk full, a rank lost, no memory)."""

    exit_code = 1


class BadSample(UserError):  # noqa: N818 (names the sample, not the act)
    """This one sample cannot be used; a stream puts another in its place and writes it down.

    `kind` is one word: unreadable, truncated, bomb, label, size, empty, annotation, value, sound
    or text. What is wrong with a whole data set is a plain `UserError`.
    """

    def __init__(
        self, what: str, *, kind: str, where: str | None = None, todo: str | None = None
    ) -> None:
        super().__init__(what, where=where, todo=todo)
        self.kind = kind


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a config: the path in the tree, what is wrong, a near match."""

    path: str
    what: str
    suggestion: str | None = None
    mark: Mark | None = None

    def __str__(self) -> str:
        where = f"{self.mark.text}  " if self.mark else ""
        line = f"{where}{self.path}: {self.what}" if self.path else f"{where}{self.what}"
        if not self.suggestion:
            return line
        end = "" if line[-1:] in ".!?" else "."
        return f"{line}{end} Did you mean {self.suggestion}?"


class ConfigErrors(UserError):  # noqa: N818 (one exception, many errors)
    """Everything wrong with a config, in the order of its files and lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        unique = dict.fromkeys(problems)
        self.problems: list[Problem] = sorted(unique, key=_position)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def _made_again(kind: type[UserError], arguments: tuple[Any, ...]) -> UserError:
    return kind.__new__(kind, *arguments)


def _position(problem: Problem) -> tuple[str, int, int]:
    mark = problem.mark
    return (mark.file, mark.line, mark.column) if mark else ("", 0, 0)
