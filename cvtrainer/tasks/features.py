"""Features inside of networks: seen where layers give them, compared pair by pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.protocols import Outputs

WHERE = "task distillation: features"


class Taps:
    """Outputs of named layers, kept between entering and leaving; other names are not layers."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        self._seen: dict[str, Any] = {}
        self._open = False
        modules = dict(network.named_modules())
        for name in dict.fromkeys(names):
            if name in modules:
                modules[name].register_forward_hook(self._keeping(name))

    def __enter__(self) -> dict[str, Any]:
        self._open, self._seen = True, {}
        return self._seen

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open, self._seen = False, {}

    def _keeping(self, name: str) -> Any:
        def keep(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if self._open:
                self._seen[name] = output

        return keep


@dataclass(frozen=True)
class Pair:
    """A layer or output of the student, and what of which teacher it is to be like."""

    student: str
    teacher: str
    of: str
    factor: float = 1.0
    adapter: nn.Module | None = None

    @classmethod
    def read(cls, node: Mapping[str, Any], teachers: Sequence[str]) -> Pair:
        """From a config's mapping."""
        known = ("student", "teacher", "of", "factor", "adapter")
        for word in node:
            if word not in known:
                near = nearest(str(word), known)
                todo = f"Did you mean {near}?" if near else f"It has {', '.join(known)}."
                raise UserError(f"{word!r} is not understood", where=WHERE, todo=todo)
        if "student" not in node:
            raise UserError("a pair needs the name of a layer as `student`", where=WHERE)
        of = str(node.get("of", teachers[0]))
        if of not in teachers:
            raise UserError(f"there is no teacher {of!r}, but {', '.join(teachers)}", where=WHERE)
        return cls(
            str(node["student"]),
            str(node.get("teacher", node["student"])),
            of,
            float(node.get("factor", 1.0)),
            node.get("adapter"),
        )


class Pairs(nn.Module):
    """The adapters, and how far the features of each pair are apart."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        super().__init__()
        self.pairs = list(pairs)
        self.adapters = nn.ModuleList(one.adapter or nn.Identity() for one in pairs)

    @property
    def adapted(self) -> bool:
        """Whether there is anything to learn."""
        return any(True for _ in self.parameters())

    def sides(
        self, student: Outputs, taught: Mapping[str, Outputs]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The features of both sides of each pair."""
        return (
            [_feature(student, one.student, "the student") for one in self.pairs],
            [_feature(taught[one.of], one.teacher, one.of) for one in self.pairs],
        )

    def forward(self, student: Sequence[Tensor], taught: Sequence[Tensor]) -> list[Tensor]:
        found = []
        rows = zip(self.pairs, self.adapters, student, taught, strict=True)
        for pair, adapter, ours, theirs in rows:
            brought = _of_size(adapter(ours), theirs)
            if brought.shape != theirs.shape:
                raise UserError(
                    f"{pair.student} of the student gives {list(brought.shape)}, {pair.teacher} "
                    f"of {pair.of} {list(theirs.shape)}",
                    where=WHERE,
                    todo="Give the pair an adapter, such as {type: torch.nn.Conv2d, "
                    f"in_channels: {ours.shape[1]}, out_channels: {theirs.shape[1]}, "
                    "kernel_size: 1}.",
                )
            found.append(pair.factor * functional.mse_loss(brought.float(), theirs.float()))
        return found


def _feature(found: Outputs, name: str, who: str) -> Tensor:
    if name not in found:
        raise UserError(
            f"{who} has no layer and no output {name!r}; outputs are {', '.join(found)}",
            where=WHERE,
        )
    if not isinstance(found[name], Tensor):
        raise UserError(
            f"{name} of {who} gives a {type(found[name]).__name__}, not a tensor",
            where=WHERE,
            todo="Name a layer inside of it.",
        )
    feature: Tensor = found[name]
    return feature


def _of_size(ours: Tensor, theirs: Tensor) -> Tensor:
    """Maps are brought to the size of the teacher's."""
    if ours.ndim == theirs.ndim == 4 and ours.shape[2:] != theirs.shape[2:]:
        return functional.interpolate(ours, theirs.shape[2:], mode="bilinear", antialias=True)
    return ours
