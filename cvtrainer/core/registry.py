"""Short names for parts: a name maps to "module:Attr", so that listing imports nothing.

A registry knows the built-in table it is given, what users add with a decorator, and what
installed plug-ins announce as entry points of the group `cvtrainer.<kind>s`. The entry points are
read only when a name is not found otherwise or when all names are listed. Turning the target into
an object is left to `locate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from cvtrainer.core.errors import UserError
from cvtrainer.core.naming import entry_name

Part = TypeVar("Part", bound=Callable[..., Any])


class Registry:
    """The names of one kind of part."""

    def __init__(self, kind: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self._builtin = dict(builtin)
        self._added: dict[str, str] = {}
        self._objects: dict[str, Callable[..., Any]] = {}
        self._plugins: dict[str, str] | None = None

    def register(self, name: str | None = None) -> Callable[[Part], Part]:
        """Decorator: give a class or function a short name, by default that of its type."""

        def add(part: Part) -> Part:
            self._add(name or entry_name(part.__qualname__), part)
            return part

        return add

    def register_module(self, name: str | None = None) -> Callable[[Part], Part]:
        """The same as `register`."""
        return self.register(name)

    def get(self, name: str, *, plugins: bool = True) -> str | None:
        """The "module:Attr" of a name; `EMAHook` finds `ema` too."""
        for table in (self._added, self._builtin):
            found = table.get(name) or self._alike(table, name)
            if found is not None:
                return found
        announced = self._read_plugins() if plugins else {}
        return announced.get(name) or self._alike(announced, name)

    def names(self) -> list[str]:
        """Every known name, sorted."""
        return sorted({*self._builtin, *self._added, *self._read_plugins()})

    def items(self) -> list[tuple[str, str]]:
        """Every known name with its target."""
        return [(name, self.get(name) or "") for name in self.names()]

    def registered_object(self, target: str) -> Callable[..., Any] | None:
        """What was registered under this target, for classes that no import can reach."""
        return self._objects.get(target)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}, {len(self._builtin) + len(self._added)} names)"

    def _alike(self, table: Mapping[str, str], name: str) -> str | None:
        """A class name finds its short name: `ResNet18` is `resnet18`, `EMAHook` is `ema`."""
        words = {_folded(name), _folded(entry_name(name))}
        words |= {word.removesuffix(self.kind) for word in words}
        return next((table[known] for known in table if _folded(known) in words), None)

    def _add(self, name: str, part: Callable[..., Any]) -> None:
        target = f"{part.__module__}:{part.__qualname__}"
        known = self._added.get(name) or self._builtin.get(name)
        if known is not None and known != target:
            raise UserError(
                f"the {self.kind} name {name!r} is taken: {known} and {target} both want it",
                todo="Register one of them under another name.",
            )
        self._added[name] = target
        self._objects[target] = part

    def _read_plugins(self) -> dict[str, str]:
        if self._plugins is None:
            from importlib.metadata import entry_points

            found: dict[str, str] = {}
            for point in entry_points(group=f"cvtrainer.{self.kind}s"):
                if found.setdefault(point.name, point.value) != point.value:
                    raise UserError(
                        f"two plug-ins call a {self.kind} {point.name!r}: "
                        f"{found[point.name]} and {point.value}",
                        todo="Uninstall one of them or name the import path in the config.",
                    )
            self._plugins = found
        return self._plugins


def _folded(name: str) -> str:
    return name.replace("_", "").lower()
