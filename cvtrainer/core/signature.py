"""What a class or function takes, read from its source without importing it.

Follows `__init__` through base classes across files, dataclass fields, `__new__`, and keyword
arguments that are handed on with `super().__init__(**kwargs)`. The verdict on an argument is right,
wrong or unknown; unknown ones are checked after import. Also read: literal class attributes, the
names of overridden methods and what one method takes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from cvtrainer.core.symbols import Symbol, Symbols

_WITHOUT_ARGUMENTS = {
    "object", "Protocol", "Generic", "ABC", "Module", "Dataset", "Hashable", "Sized",
}  # fmt: skip
_CLEAR_DECORATORS = {
    "register", "register_module", "register_model", "staticmethod", "overload", "no_grad",
    "inference_mode", "cache", "lru_cache", "wraps", "final", "override", "deprecated",
    "_disable_dynamo_if_unsupported", "typing_extensions",
}  # fmt: skip
_DEEPEST = 12


class Verdict(Enum):
    """Whether a target takes an argument of some name."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


class Missing(Enum):
    """Marks a parameter without a default, or a default that is no literal."""

    NO_DEFAULT = "no default"
    NOT_LITERAL = "not a literal"


@dataclass(frozen=True)
class Parameter:
    """One parameter: its annotation as an expression, its default where it is a literal."""

    name: str
    annotation: ast.expr | None = None
    default: Any = Missing.NO_DEFAULT
    owner: Symbol | None = None

    @property
    def required(self) -> bool:
        """Whether a call must give it."""
        return self.default is Missing.NO_DEFAULT


@dataclass(frozen=True)
class TargetInfo:
    """What is known of a target; `open` when it may take more than the parameters listed."""

    name: str
    symbol: Symbol
    parameters: dict[str, Parameter] = field(default_factory=dict)
    open: bool = False
    literals: dict[str, Any] = field(default_factory=dict)
    methods: frozenset[str] = frozenset()

    def verdict(self, argument: str) -> Verdict:
        """Whether the target takes this argument."""
        if argument in self.parameters:
            return Verdict.RIGHT
        return Verdict.UNKNOWN if self.open else Verdict.WRONG


class Signatures:
    """Reads and remembers targets as one config sees them."""

    def __init__(self, symbols: Symbols) -> None:
        self.symbols = symbols
        self._read: dict[str, TargetInfo | None] = {}

    def read(self, text: str) -> TargetInfo | None:
        """What a resolved type takes; None where reading text cannot tell."""
        if text not in self._read:
            found = self.symbols.target(text).found
            self._read[text] = self._info(found) if isinstance(found, Symbol) else None
        return self._read[text]

    def method(self, text: str, name: str) -> list[str] | None:
        """Names of a method's parameters; None where it may take any, or cannot be read."""
        found = self.symbols.target(text).found
        if not isinstance(found, Symbol) or not isinstance(found.node, ast.ClassDef):
            return None
        for one in self._ancestry(found):
            if isinstance(one, str):
                return None
            assert isinstance(one.node, ast.ClassDef)
            written = _method(one.node, name)
            if written is not None:
                parameters, rest = _parameters(written, one, drop_first=True)
                return None if rest or written.args.vararg else list(parameters)
        return None

    def _info(self, symbol: Symbol) -> TargetInfo:
        if not isinstance(symbol.node, ast.ClassDef):
            parameters, rest = _parameters(symbol.node, symbol)
            unclear = rest or any(not _clear(one) for one in symbol.node.decorator_list)
            return TargetInfo(symbol.name, symbol, parameters, unclear)
        line = list(self._ancestry(symbol))
        classes = [one for one in line if isinstance(one, Symbol)]
        parameters, unclear = self._constructor(line)
        literals: dict[str, Any] = {}
        for one in reversed(classes):
            literals.update(_literals(one))
        methods = {name for one in classes for name in _methods(one) if not _is_hook_base(one)}
        return TargetInfo(symbol.name, symbol, parameters, unclear, literals, frozenset(methods))

    def _ancestry(self, symbol: Symbol, depth: int = 0) -> Iterator[Symbol | str]:
        """The class, then its bases, depth first; a text stands for one that cannot be read."""
        yield symbol
        assert isinstance(symbol.node, ast.ClassDef)
        for base in symbol.node.bases:
            text = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
            name = text.rpartition(".")[2]
            if name in _WITHOUT_ARGUMENTS:
                continue
            found = self.symbols.resolve(symbol.module, text) if depth < _DEEPEST else None
            if isinstance(found, Symbol) and isinstance(found.node, ast.ClassDef):
                yield from self._ancestry(found, depth + 1)
            else:
                yield text
        if any(keyword.arg == "metaclass" for keyword in symbol.node.keywords):
            yield from self._metaclass(symbol)

    def _metaclass(self, symbol: Symbol) -> Iterator[str]:
        """A text where the metaclass changes how the class is called."""
        assert isinstance(symbol.node, ast.ClassDef)
        for keyword in symbol.node.keywords:
            text = ast.unparse(keyword.value)
            if keyword.arg != "metaclass" or text.endswith("ABCMeta"):
                continue
            found = self.symbols.resolve(symbol.module, text)
            if not isinstance(found, Symbol) or "__call__" in _methods(found):
                yield text

    def _constructor(self, line: Sequence[Symbol | str]) -> tuple[dict[str, Parameter], bool]:
        """The parameters that a class is made with, and whether there may be more."""
        for index, one in enumerate(line):
            if isinstance(one, str):
                return {}, True
            node = one.node
            assert isinstance(node, ast.ClassDef)
            maker = _method(node, "__init__") or _method(node, "__new__")
            if maker is not None:
                return self._through(maker, one, line[index + 1 :])
            if _is_dataclass(node) or _is_named_tuple(node):
                return self._fields(line[index:])
        return {}, False

    def _through(
        self, maker: ast.FunctionDef, owner: Symbol, bases: Sequence[Symbol | str]
    ) -> tuple[dict[str, Parameter], bool]:
        parameters, rest = _parameters(maker, owner, drop_first=True)
        if any(not _clear(one) for one in maker.decorator_list):
            rest = True
        if maker.name == "__new__" and not parameters:
            return parameters, True
        keyword = maker.args.kwarg
        if keyword is None or not rest:
            return parameters, rest
        handed_on = _super_call(maker, keyword.arg)
        if handed_on is None:
            return parameters, True
        inherited, unclear = self._constructor(bases)
        given = {word.arg for word in handed_on.keywords if word.arg}
        skipped = list(inherited)[: len(handed_on.args)]
        for name, parameter in inherited.items():
            if name not in given and name not in skipped:
                parameters.setdefault(name, parameter)
        return parameters, unclear

    def _fields(self, line: Sequence[Symbol | str]) -> tuple[dict[str, Parameter], bool]:
        parameters: dict[str, Parameter] = {}
        for one in reversed(line):
            if isinstance(one, Symbol) and isinstance(one.node, ast.ClassDef):
                parameters.update(_dataclass_fields(one.node, one))
        unreadable = [one for one in line if isinstance(one, str) and not one.endswith("Tuple")]
        return parameters, bool(unreadable)


def literal(node: ast.expr | None) -> Any:
    """The value of a literal expression, or a mark that it is none."""
    if node is None:
        return Missing.NO_DEFAULT
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return Missing.NOT_LITERAL


def _parameters(
    node: ast.FunctionDef | ast.AsyncFunctionDef, owner: Symbol, *, drop_first: bool = False
) -> tuple[dict[str, Parameter], bool]:
    """Parameters that can be given by name, and whether `**kwargs` takes others."""
    plain = [*node.args.posonlyargs, *node.args.args]
    defaults = [None] * (len(plain) - len(node.args.defaults)) + list(node.args.defaults)
    pairs = list(zip(plain, defaults, strict=True))[1 if drop_first else 0 :]
    pairs += list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
    parameters = {
        arg.arg: Parameter(arg.arg, arg.annotation, literal(default), owner)
        for arg, default in pairs
    }
    return parameters, node.args.kwarg is not None


def _clear(decorator: ast.expr) -> bool:
    """Whether a decorator surely leaves the signature as it is written."""
    call = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(call).rpartition(".")[2] in _CLEAR_DECORATORS


def _method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    found = None
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == name:
            overloads = [ast.unparse(one) for one in statement.decorator_list]
            if not any(text.endswith("overload") for text in overloads):
                found = statement
    return found


def _super_call(maker: ast.FunctionDef, keyword: str) -> ast.Call | None:
    """The `super().__init__(…, **kwargs)` inside a constructor, if that is where kwargs go."""
    for node in ast.walk(maker):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        target = ast.unparse(node.func.value)
        if node.func.attr not in ("__init__", "__new__") or not target.startswith("super("):
            continue
        for word in node.keywords:
            if word.arg is None and isinstance(word.value, ast.Name) and word.value.id == keyword:
                return node
    return None


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(one).partition("(")[0] for one in node.decorator_list)


def _is_named_tuple(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).endswith("NamedTuple") for base in node.bases)


def _dataclass_fields(node: ast.ClassDef, owner: Symbol) -> Iterator[tuple[str, Parameter]]:
    for statement in node.body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if "ClassVar" in ast.unparse(statement.annotation):
            continue
        name, default = statement.target.id, literal(statement.value)
        value = statement.value
        if isinstance(value, ast.Call) and ast.unparse(value.func).endswith("field"):
            words = {word.arg: word.value for word in value.keywords}
            if literal(words.get("init")) is False:
                continue
            has_factory = "default_factory" in words
            default = Missing.NOT_LITERAL if has_factory else literal(words.get("default"))
        yield name, Parameter(name, statement.annotation, default, owner)


def _literals(symbol: Symbol) -> Iterator[tuple[str, Any]]:
    for statement in symbol.node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name, value = statement.target.id, literal(statement.value)
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name, value = statement.targets[0].id, literal(statement.value)
        else:
            continue
        if not isinstance(value, Missing):
            yield name, value


def _methods(symbol: Symbol) -> Iterator[str]:
    for statement in symbol.node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement.name


def _is_hook_base(symbol: Symbol) -> bool:
    return symbol.qualified == "cvtrainer.hooks.base:BaseHook"
