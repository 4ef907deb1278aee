"""How bytes become text: UTF-8 with or without a mark, anything else only when it is named.

Guessing an encoding gives wrong letters without a word, so a line that is not UTF-8 is named
together with the encodings under which it could be read.
"""

from __future__ import annotations

import codecs

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import BadSample

_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GUESSES = ("gb18030", "latin-1")


def known_encoding(encoding: str | None, where: str) -> str | None:
    """That encoding; an error where Python has none of that name."""
    if encoding is None:
        return None
    try:
        return codecs.lookup(encoding).name
    except LookupError as error:
        raise UserError(
            f"no encoding is called {encoding!r}", where=where, todo="Use e.g. gb18030 or latin-1."
        ) from error


def decode_text(data: bytes, name: str, encoding: str | None) -> str:
    """The text in those bytes, without its mark; a place that cannot be read is a bad sample."""
    if encoding is None:
        wide = next((word for mark, word in _WIDE_MARKS if data.startswith(mark)), None)
        if wide is not None:
            raise BadSample(
                f"the text is {wide}, not UTF-8",
                kind="text",
                where=name,
                todo=f"Give encoding: {wide}, or save it as UTF-8.",
            )
    try:
        return data.decode(encoding or "utf-8-sig").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadSample(
            f"byte {data[error.start]:#04x} is not {encoding or 'UTF-8'}",
            kind="text",
            where=f"{name}:{line}",
            todo=_advice(data) if encoding is None else "Give the encoding that it was saved in.",
        ) from error


def lines_of(text: str) -> list[str]:
    """Its lines; only line feeds end one (with or without a carriage return before)."""
    lines = text.split("\n")
    if lines[-1] == "":
        del lines[-1]
    return [line.removesuffix("\r") for line in lines]


def _advice(data: bytes) -> str:
    fitting = [guess for guess in _GUESSES if _decodes(data, guess)]
    return f"Save it as UTF-8, or give its encoding; it can be read as {' or '.join(fitting)}."


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
