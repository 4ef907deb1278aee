"""One Python file as text: where its classes, functions and imports are, without parsing it all.

Large modules (torch's losses, albumentations' transforms) take tens of milliseconds to parse, and
a config check touches a dozen of them. A definition is found by its first line and only its own
lines are parsed. A whole parse happens only where a name is defined inside an `if` or a `try`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

_NAME = r"[A-Za-z_]\w*"
_DEFINED = re.compile(rf"^(?:class|def|async[ \t]+def)[ \t]+({_NAME})", re.MULTILINE)
_DEEPER = r"^[ \t]+(?:class|def|async[ \t]+def)[ \t]+{name}\b"
_FROM = re.compile(
    r"^[ \t]*from[ \t]+([.\w]+)[ \t]+import[ \t]+(\([^)]*\)|(?:[^\n\\]|\\\n)+)", re.MULTILINE
)
_IMPORT = re.compile(r"^[ \t]*import[ \t]+((?:[^\n\\#]|\\\n)+)", re.MULTILINE)
_ASSIGNED = re.compile(rf"^({_NAME})[ \t]*(?::[^=\n]+)?=(?!=)[ \t]*(.*)$", re.MULTILINE)
_NEXT = re.compile(r"^[^\s#)\]}]", re.MULTILINE)
_COMMENT = re.compile(r"#[^\n]*")
_DYNAMIC = re.compile(r"^def[ \t]+__getattr__\b|\bglobals\(\)|setattr\(sys\.modules", re.MULTILINE)
_MEMBER = re.compile(r"^(?:    |\t)(?=@|def |async def |class )", re.MULTILINE)
_KEPT = re.compile(r"^\s*(?:@.*\n\s*)*(?:async )?def (?:__init__|__new__|__call__|__getattr__)\b")
_LARGE = 8_000
_EXTENSIONS = 6


@dataclass(frozen=True)
class Import:
    """`from module import name`; `name` is None for `import module`."""

    module: str
    name: str | None


@dataclass
class SourceText:
    """The text of one file and what was found in it so far."""

    path: Path
    text: str
    _parsed: dict[str, Definition | None] = field(default_factory=dict)

    @cached_property
    def defined(self) -> dict[str, int]:
        """Offsets of classes and functions at the left margin; the last of a name counts."""
        return {match[1]: match.start() for match in _DEFINED.finditer(self.text)}

    @cached_property
    def imports(self) -> dict[str, Import]:
        """What each imported name stands for."""
        found: dict[str, Import] = {}
        for match in _IMPORT.finditer(self.text):
            for part in match[1].replace("\\\n", " ").split(","):
                words = part.split()
                if len(words) == 3 and words[1] == "as":
                    found[words[2]] = Import(words[0], None)
                elif len(words) == 1:
                    top = words[0].partition(".")[0]
                    found.setdefault(top, Import(top, None))
        for match in _FROM.finditer(self.text):
            for part in _import_words(match[2]):
                words = part.split()
                if len(words) == 3 and words[1] == "as":
                    found[words[2]] = Import(match[1], words[0])
                elif len(words) == 1 and words[0] != "*":
                    found[words[0]] = Import(match[1], words[0])
        return found

    @cached_property
    def stars(self) -> list[str]:
        """Modules of which everything is imported."""
        return [match[1] for match in _FROM.finditer(self.text) if match[2].strip()[:1] == "*"]

    @cached_property
    def assigned(self) -> dict[str, str]:
        """The first line of what is assigned to each name at the left margin."""
        return {match[1]: match[2].strip() for match in _ASSIGNED.finditer(self.text)}

    @cached_property
    def dynamic(self) -> bool:
        """Whether the module makes names that its text does not show."""
        return _DYNAMIC.search(self.text) is not None

    def names(self) -> list[str]:
        """Public names of the module, definitions first."""
        every = [*self.defined, *self.assigned, *self.imports]
        return [name for name in dict.fromkeys(every) if not name.startswith("_")]

    def definition(self, name: str) -> Definition | None:
        """The parsed class or function of this name, bodies of other methods left out."""
        if name not in self._parsed:
            self._parsed[name] = self._parse(name)
        return self._parsed[name]

    def _parse(self, name: str) -> Definition | None:
        offset = self.defined.get(name)
        if offset is None:
            deeper = re.search(_DEEPER.format(name=re.escape(name)), self.text, re.MULTILINE)
            return self._parse_whole(name) if deeper else None
        start = self._with_decorators(offset)
        end = offset
        for _ in range(_EXTENSIONS):
            following = _NEXT.search(self.text, self.text.find("\n", end) + 1 or len(self.text))
            end = following.start() if following else len(self.text)
            tree = _try_parse(self.text[start:end])
            if tree is not None:
                return _last_definition(tree.body, name)
            if following is None:
                break
        return self._parse_whole(name)

    def _with_decorators(self, offset: int) -> int:
        """Where the decorators above a definition begin."""
        start = offset
        while True:
            before = self.text.rfind("\n@", 0, start)
            if before < 0:
                return start
            block = self.text[before + 1 : start]
            lines = block.split("\n")[1:]
            if any(line and not line[0].isspace() and line[0] not in ")]}#" for line in lines):
                return start
            start = before + 1

    def _parse_whole(self, name: str) -> Definition | None:
        try:
            tree = ast.parse(self.text)
        except SyntaxError:
            return None
        return _last_definition(tree.body, name)


def read_source(path: Path) -> SourceText | None:
    """The file's text, read again only when the file has changed."""
    try:
        stat = path.stat()
        return _read(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, UnicodeDecodeError):
        return None


@lru_cache(maxsize=512)
def _read(path: Path, mtime_ns: int, size: int) -> SourceText:
    return SourceText(path, path.read_text(encoding="utf-8"))


def _import_words(text: str) -> list[str]:
    plain = _COMMENT.sub("", text).replace("\\\n", " ").strip("() \t\n")
    return plain.replace("\n", " ").split(",")


def _try_parse(chunk: str) -> ast.Module | None:
    for text in dict.fromkeys((_without_bodies(chunk), chunk)):
        try:
            return ast.parse(text)
        except SyntaxError:
            continue
    return None


def _without_bodies(chunk: str) -> str:
    """A large class with the bodies of its ordinary methods replaced by blank lines."""
    if len(chunk) < _LARGE:
        return chunk
    starts = [match.start() for match in _MEMBER.finditer(chunk)]
    if not starts:
        return chunk
    pieces = [chunk[: starts[0]]]
    ends = [*starts[1:], len(chunk)]
    for begin, end in zip(starts, ends, strict=True):
        piece = chunk[begin:end]
        pieces.append(piece if _is_kept(piece) else _hollow(piece))
    return "".join(pieces)


def _is_kept(piece: str) -> bool:
    return piece.lstrip().startswith("@") or _KEPT.match(piece) is not None


def _hollow(piece: str) -> str:
    header = re.match(r"\s*(?:async )?(def|class) (\w+)", piece)
    if header is None or header[1] == "class":
        return piece
    return f"    def {header[2]}(self): ..." + "\n" * piece.count("\n")


def _last_definition(body: list[ast.stmt], name: str) -> Definition | None:
    found: Definition | None = None
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = statement if statement.name == name else found
        elif isinstance(statement, ast.If):
            found = _last_definition([*statement.orelse, *statement.body], name) or found
        elif isinstance(statement, ast.Try):
            handlers = [inner for handler in statement.handlers for inner in handler.body]
            found = _last_definition([*handlers, *statement.body], name) or found
    return found
