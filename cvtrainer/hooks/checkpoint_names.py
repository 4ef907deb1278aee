"""What checkpoint files are called: templates with fields such as `{epoch}` or `{val_loss:.3f}`.

The default names suit most; other programs' names are a matter of templates. A name made from a
template is recognised again, so that another run's files are told from weights of the user's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from string import Formatter
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.engine.checkpoint import SUFFIXES
from cvtrainer.engine.view import StageView

_WHERE = "hooks.checkpoint.names"
_COUNTERS = ("epoch", "step")
_MANY_BEST = "best_step_{step}.pth"
_NUMBER = r"-?(?:[\d.]+(?:e[-+]?\d+)?|nan|inf)%?"


@dataclass(frozen=True)
class CheckpointNames:
    """A template for each kind of file; `marker` is a file that holds the newest one's name."""

    epoch: str = "checkpoint_epoch_{epoch}.pth"
    step: str = "checkpoint_step_{step}.pth"
    best: str = "best_model.pth"
    last: str = "last.pth"
    marker: str | None = None

    @classmethod
    def of(cls, written: Mapping[str, str] | None, *, best_kept: int = 1) -> CheckpointNames:
        """The names as a config writes them, checked."""
        given = {**({"best": _MANY_BEST} if best_kept > 1 else {}), **(written or {})}
        known = [field.name for field in fields(cls)]
        for kind, template in given.items():
            if kind not in known:
                near = nearest(kind, known)
                hint = f"Did you mean {near}?" if near else f"There is {', '.join(known)}."
                raise UserError(f"there is no {kind!r}", where=_WHERE, todo=hint)
            if template is not None:
                _check(kind, template)
        names = cls(**given)
        templates = [template for kind, template in names.templates() if kind != "marker"]
        if len(set(templates)) < len(templates):
            raise UserError("two kinds of files have the same name", where=_WHERE)
        if best_kept > 1 and not set(_fields_of(names.best)) & set(_COUNTERS):
            raise UserError(
                f"best is {names.best!r} for {best_kept} files",
                where=_WHERE,
                todo="Put {epoch} or {step} into it.",
            )
        return names

    def templates(self) -> list[tuple[str, str]]:
        """Kind and template of every file."""
        pairs = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(kind, template) for kind, template in pairs if template is not None]

    def file(self, kind: str, stage: StageView, **more: Any) -> str:
        """The file's name at this position."""
        known = {**_constants(stage), "epoch": stage.epoch, "step": stage.step, **more}
        for name, value in (stage.get("metrics") or {}).items():
            known[_plain(name)] = value
        template = getattr(self, kind)
        try:
            made: str = template.format_map(known)
        except KeyError as missing:
            raise UserError(
                f"{kind} is {template!r}, and there is no {missing.args[0]}",
                where=_WHERE,
                todo=f"There is {', '.join(known)}.",
            ) from None
        except (ValueError, TypeError) as error:
            raise UserError(f"{kind} is {template!r}: {error}", where=_WHERE) from None
        return made.replace("/", "_")

    def pattern(self, stage: StageView) -> re.Pattern[str]:
        """What every name of every kind looks like in this stage."""
        forms = [_form(template, _constants(stage)) for _, template in self.templates()]
        return re.compile("|".join(forms))

    @property
    def best_pattern(self) -> re.Pattern[str]:
        """The same of the best ones, in any stage."""
        return re.compile(_form(self.best, {}))


def _constants(stage: StageView) -> dict[str, str]:
    return {"stage": stage.name, "network": type(stage.model).__name__}


def _plain(metric: str) -> str:
    """`val/loss` as a field: val_loss."""
    return re.sub(r"\W", "_", metric)


def _form(template: str, constants: Mapping[str, str]) -> str:
    form = ""
    for text, field, _, _ in Formatter().parse(template):
        form += re.escape(text)
        if field is None:
            continue
        if field in constants:
            form += re.escape(constants[field].replace("/", "_"))
        elif field in _COUNTERS:
            form += r"\d+"
        elif field in ("stage", "network"):
            form += ".+"
        else:
            form += _NUMBER
    return form


def _fields_of(template: str) -> list[str]:
    return [field for _, field, _, _ in Formatter().parse(template) if field is not None]


def _check(kind: str, template: str) -> None:
    """Whether it gives a name that is found again."""
    try:
        wrong = [field for field in _fields_of(template) if not field.isidentifier()]
    except ValueError as error:
        raise UserError(f"{kind} is {template!r}: {error}", where=_WHERE) from None
    if wrong:
        raise UserError(f"{kind} is {template!r}: {{{wrong[0]}}} is no field", where=_WHERE)
    if not template or Path(template).name != template:
        raise UserError(
            f"{kind} is {template!r}", where=_WHERE, todo="Write a file name without a folder."
        )
    if (kind == "marker") == template.endswith(SUFFIXES):
        ending = "none" if kind == "marker" else "one"
        todo = f"It needs {ending} of the endings {', '.join(SUFFIXES)}."
        raise UserError(f"{kind} is {template!r}", where=_WHERE, todo=todo)
