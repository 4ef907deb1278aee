"""Texts to numbers: words or characters, numbered by a vocabulary.

Number 0 fills, number 1 stands for what the vocabulary lacks. The vocabulary is given, or learnt
from the training texts: by falling count, equals by code point, so that the same texts always give
the same numbers. A Chinese or Japanese character is a word by itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import write_whole
from cvtrainer.data.sample import BadSample
from cvtrainer.data.tensorizer.learning import TrainingField

FILLING, UNKNOWN = 0, 1
_FIRST = 2

_SINGLE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LETTER = rf"(?:(?![{_SINGLE}])\w)"
_WORD = re.compile(rf"[{_SINGLE}]|{_LETTER}+(?:['’]{_LETTER}+)*|[^\w\s]")


class TextTensorizer:
    """A text -> numbers of its words (`level: word`) or characters (`level: char`), int64 [T].

    `max_length` keeps the first ones. `vocabulary` is a list, or a file with one entry a line;
    without it `learn` takes what stands at least `min_count` times in the training texts, and no
    more than `max_tokens` numbers altogether (the two special ones included).
    """

    thread_safe = True
    ragged_dim: int | None = 0

    def __init__(
        self,
        *,
        level: Literal["word", "char"] = "word",
        max_length: int | None = None,
        max_tokens: int | None = None,
        min_count: int = 1,
        lowercase: bool = True,
        vocabulary: str | Path | Sequence[str] | None = None,
    ) -> None:
        if level not in ("word", "char"):
            raise UserError(f"level is {level!r}", where="TextTensorizer", todo="word or char.")
        if max_tokens is not None and max_tokens <= _FIRST:
            raise UserError(f"max_tokens is {max_tokens}", where="TextTensorizer")
        self.level, self.max_length, self.lowercase = level, max_length, lowercase
        self.max_tokens, self.min_count = max_tokens, min_count
        self._numbers: dict[str, int] | None = None
        if isinstance(vocabulary, str | Path):
            self._number(_entries(Path(vocabulary)))
        elif vocabulary is not None:
            self._number(vocabulary)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The entries in the order of their numbers, the first of which is 2."""
        return tuple(self._known())

    @property
    def size(self) -> int:
        """How many numbers there are: what an embedding needs."""
        return len(self._known()) + _FIRST

    def __call__(self, value: Any) -> Tensor:
        known = self._known()
        tokens = self.tokens(value)
        if not tokens:
            raise BadSample("the text is empty", kind="empty")
        if self.max_length is not None:
            tokens = tokens[: self.max_length]
        return torch.tensor([known.get(token, UNKNOWN) for token in tokens], dtype=torch.int64)

    def tokens(self, text: object) -> list[str]:
        """The words or characters of that text."""
        if not isinstance(text, str):
            raise UserError(f"not a text: {text!r}")
        plain = unicodedata.normalize("NFC", text)
        if self.lowercase:
            plain = plain.lower()
        if self.level == "char":
            return list(" ".join(plain.split()))
        return _WORD.findall(plain)

    def learn(self, field: TrainingField) -> None:
        """Take the vocabulary from the training texts, unless it was given."""
        if self._numbers is not None:
            return
        counts: Counter[str] = Counter()
        for text in field.values():
            counts.update(self.tokens(text))
        often = [(-count, token) for token, count in counts.items() if count >= self.min_count]
        most = None if self.max_tokens is None else self.max_tokens - _FIRST
        self._number([token for _, token in sorted(often)[:most]])

    def save(self, path: str | Path) -> None:
        """Write the vocabulary, one entry a line."""
        text = "".join(f"{token}\n" for token in self._known())
        write_whole(Path(path), text.encode())

    def state_dict(self) -> dict[str, Any]:
        """The vocabulary."""
        return {"vocabulary": list(self._known())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The vocabulary that training had."""
        trained = list(state["vocabulary"])
        if self._numbers is not None and list(self._numbers) != trained:
            raise UserError(
                "the vocabulary is not the one that training had",
                where="TextTensorizer",
                todo="Leave `vocabulary` out, or give the one of the training.",
            )
        self._number(trained)

    def _number(self, entries: Sequence[str]) -> None:
        numbers = {token: number for number, token in enumerate(entries, start=_FIRST)}
        if len(numbers) != len(entries):
            raise UserError("the vocabulary names an entry twice", where="TextTensorizer")
        self._numbers = numbers

    def _known(self) -> dict[str, int]:
        if self._numbers is None:
            raise UserError(
                "no vocabulary yet",
                where="TextTensorizer",
                todo="Give `vocabulary`, or let it learn from the training set.",
            )
        return self._numbers


def _entries(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the vocabulary cannot be read: {error}", where=str(path)) from error
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines
