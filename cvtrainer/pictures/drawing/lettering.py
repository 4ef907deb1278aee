"""Letters that are really there: a font that has every letter of the class names, or numbers.

Chinese, Japanese and Korean names need a font of the system. Where none has them, a name becomes
its number, and the legend beside the sheets says which number is which name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "C:/Windows/Fonts",
)
_LIKELY = (
    "notosanscjk",
    "notosanssc",
    "notosans",
    "sourcehan",
    "wqy",
    "droidsansfallback",
    "pingfang",
    "hiragino",
    "msyh",
    "simhei",
    "malgun",
    "dejavusans.",
    "arialunicode",
    "liberationsans-regular",
)
_ENDINGS = (".ttf", ".ttc", ".otf")


class Lettering:
    """A font for these class names, in one size; `legend` holds names it cannot draw.

    `also` are letters that would be good to have, such as those of the texts that are shown.
    """

    def __init__(
        self,
        names: Sequence[str] = (),
        *,
        also: str = "",
        size: int = 13,
        folders: Sequence[str] | None = None,
    ) -> None:
        self.size = size
        places = FOLDERS if folders is None else folders
        self.font = _font_for("".join(names), also, size, places)
        self._names = tuple(names)
        self.legend: dict[str, str] = {}
        for number, name in enumerate(self._names):
            if not covers(self.font, name):
                self.legend[f"#{number}"] = name

    @property
    def count(self) -> int:
        """How many names there are."""
        return len(self._names)

    def name(self, number: int) -> str:
        """How that class is written on pictures."""
        if not 0 <= number < len(self._names):
            return f"?{number}"
        mark = f"#{number}"
        return mark if mark in self.legend else self._names[number]

    def text(self, text: str) -> str:
        """That text with what the font lacks replaced by the nearest plain letter, or `?`."""
        if covers(self.font, text):
            return text
        return "".join(self._letter(letter) for letter in text)

    def _letter(self, letter: str) -> str:
        if letter.isspace() or covers(self.font, letter):
            return letter
        plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
        return plain or "?"

    def lines(self, text: str, width: int) -> list[str]:
        """That text in lines of at most so many pixels, broken between words where it has any."""
        found: list[str] = []
        for word in self.text(text).split():
            joined = f"{found[-1]} {word}" if found else word
            if found and self.width(joined) <= width:
                found[-1] = joined
                continue
            found.append("")
            for letter in word:
                if found[-1] and self.width(found[-1] + letter) > width:
                    found.append("")
                found[-1] += letter
        return found

    def width(self, text: str) -> int:
        """Pixels that a text takes."""
        return int(self.font.getlength(text))


def covers(font: Font, text: str) -> bool:
    """Whether the font has every letter of that text."""
    if not isinstance(font, ImageFont.FreeTypeFont):
        return text.isascii()
    lacking = _drawn(font, "\U0010ffff")
    return all(
        letter.isspace() or _drawn(font, letter) != lacking
        for letter in sorted(set(text))
        if unicodedata.category(letter)[0] != "C"
    )


def _drawn(font: ImageFont.FreeTypeFont, letter: str) -> bytes:
    mask = font.getmask(letter)
    return bytes(mask) + bytes(str(mask.size), "ascii")


def _font_for(names: str, also: str, size: int, folders: Iterable[str]) -> Font:
    """The usual font where it will do; else one with all letters, else one with the names'."""
    usual = ImageFont.load_default(size)
    if covers(usual, names + also):
        return usual
    second: Font | None = usual if covers(usual, names) else None
    for path in _found(folders):
        try:
            font = ImageFont.truetype(str(path), size)
        except OSError:
            continue
        if covers(font, names + also):
            return font
        if second is None and covers(font, names):
            second = font
    return second or usual


def _found(folders: Iterable[str]) -> Iterator[Path]:
    """Likely fonts of the system, the likeliest first."""
    ranked: list[tuple[int, str, Path]] = []
    for folder in folders:
        root = Path(folder)
        if not root.is_dir():
            continue
        for path in root.rglob("*"):
            name = path.name.lower()
            if name.endswith(_ENDINGS):
                plain = name.replace("-", "").replace("_", "").replace(" ", "")
                rank = next((k for k, word in enumerate(_LIKELY) if word in plain), None)
                if rank is not None:
                    ranked.append((rank, str(path), path))
    for _, _, path in sorted(ranked):
        yield path
