"""Every moment between two borders: who acted, and what was different afterwards.

A mark stands behind each hook and before all of them at every point, and at the entrance and exit
of every module. What changes between two marks was changed by the one who acted between them, so
two runs that come from equal states part at the moment that names the owner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from cvtrainer.engine.points import POINTS
from cvtrainer.engine.randomness import random_state
from cvtrainer.jobs.verify_resume.digest import attributes, leaves, summary
from cvtrainer.jobs.verify_resume.moving import what_moves
from cvtrainer.jobs.verify_resume.orders import Border, Trace
from cvtrainer.trainer import Trainer

Owner = tuple[str, str, str]
"""Kind, name, type: ("hook", "ema", "EMAHook")."""

_TORCH_OWN = frozenset(vars(nn.Module())) - {"training"}
_OPTIMIZER_OWN = frozenset({"state", "param_groups", "defaults"})
_THROUGH = ("batch", "loss", "losses", "outputs")
_ACTORS: dict[str, tuple[str, str]] = {
    "before_step": ("stream", "the data stream"),
    "before_forward": ("device_steps", "moving to the device, device_steps"),
    "after_forward": ("task", "the forward pass"),
    "after_backward": ("backward", "the pass"),
    "before_optimize": ("loop", "gathering gradients"),
    "after_optimize": ("optimizer", "its step"),
    "after_step": ("meters", "meters"),
    "after_epoch": ("meters", "meters"),
    "after_eval": ("meters", "meters"),
}
"""Who acts between the hooks of the point before and those of this one."""


class Moments:
    """Written only while it is open: from one border to the next."""

    def __init__(self, trace: Trace, *, from_start: bool = False) -> None:
        self._trace = trace
        self._from_start = from_start
        self._last: dict[str, str] = {}
        self._earlier: dict[str, Any] = {}
        self._trainer: Trainer | None = None
        self._listening = False

    @property
    def is_open(self) -> bool:
        return self._trainer is not None

    def among(self, hooks: list[Any]) -> list[Any]:
        """The hooks with a mark before all of them and one behind each."""
        marked: list[Any] = [_FirstMark(self)]
        for place, hook in enumerate(hooks):
            marked += [hook, _Mark(self, hook, place)]
        return marked

    def open(self, trainer: Trainer) -> None:
        """Begin: what the parts keep besides their states, then everything that moves."""
        self._trainer = trainer
        self._earlier = {key: trainer.context.get(key, None) for key in _THROUGH}
        self._listen(trainer)
        self._trace.write("kept", parts=_kept(trainer))
        self.note(("loop", "", ""), "taking the state back" if self._from_start else "the border")

    def begin(self, trainer: Trainer) -> None:
        """The first moment of a stage, right after it has taken a state back."""
        if self._from_start:
            self.open(trainer)

    def close(self, border: Border) -> None:
        """The next border is reached."""
        self.note(("loop", "", ""), "the next border", {"run/border": repr(tuple(border))})
        self._trainer = None

    def note(
        self,
        owner: Owner,
        what: str,
        more: Mapping[str, str] | None = None,
        *,
        update: str | None = None,
    ) -> None:
        """Everything as it is now; only what has changed since the last moment is written.

        Gradients are those of `update`; what the step before left behind does not count.
        """
        trainer = self._trainer
        if trainer is None:
            return
        now = what_moves(trainer)
        through = {key: trainer.context.get(key, None) for key in _THROUGH}
        fresh = {key: one for key, one in through.items() if one is not self._earlier.get(key)}
        now |= leaves({"through": fresh})
        if update is not None:
            now |= _gradients(trainer, update)
        now["run/stopping"] = repr(getattr(trainer, "_stopping", None))
        self._write(owner, what, {**now, **(more or {})})

    def call(self, owner: Owner, what: str, value: Any) -> None:
        """A module's input or output; of the rest only the generators are looked at."""
        if self._trainer is not None:
            generators = leaves({"random": [random_state()]})
            self._write(owner, what, {**self._last, **generators, "through/call": summary(value)})

    def _write(self, owner: Owner, what: str, now: dict[str, str]) -> None:
        changed = {path: text for path, text in now.items() if self._last.get(path) != text}
        gone = [path for path in self._last if path not in now]
        self._trace.write("moment", owner=owner, what=what, changed=changed, gone=gone)
        self._last = now

    def _listen(self, trainer: Trainer) -> None:
        """To every module of the networks and of the criterion, innermost first."""
        if self._listening:
            return
        self._listening = True
        roots: dict[str, nn.Module] = dict(trainer.networks)
        criterion = getattr(trainer.task, "criterion", None)
        if isinstance(criterion, nn.Module):
            roots["criterion"] = criterion
        for root, module in roots.items():
            kind = "criterion" if module is criterion else "network"
            for path, part in module.named_modules():
                around = path.rpartition(".")[0]
                outer = module.get_submodule(around)
                who = (kind, f"{root}.{path}".rstrip("."), type(part).__name__)
                whose = (kind, f"{root}.{around}".rstrip("."), type(outer).__name__)
                part.register_forward_pre_hook(self._entrance(whose, who), with_kwargs=True)
                part.register_forward_hook(self._exit(who))

    def _entrance(self, whose: Owner, who: Owner) -> Callable[..., None]:
        def enter(module: nn.Module, given: Any, named: Any) -> None:
            if who[1] != whose[1]:
                self.call(whose, f"what it gives to {who[1]}", [given, named])

        return enter

    def _exit(self, who: Owner) -> Callable[..., None]:
        def leave(module: nn.Module, given: Any, result: Any) -> None:
            self.call(who, "its output", result)

        return leave


class _FirstMark:
    """Before all hooks at every point: what the loop itself and its parts have done since."""

    name = "verify_resume_first_mark"
    rank = 0

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        for point in POINTS:
            setattr(self, point, self._at(point))

    def configure(self, plan: Any) -> None:
        """Nothing."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing is kept."""

    def _at(self, point: str) -> Callable[[Any], None]:
        kind, what = _ACTORS.get(point, ("loop", "the loop"))

        def note(stage: Any) -> None:
            if point == "before_train":
                self._moments.begin(stage.trainer)
            name = str(stage.update or "") if kind == "optimizer" else str(stage.phase)
            self._moments.note((kind, name, ""), what, update=_of(stage, point))

        return note


class _Mark(_FirstMark):
    """Behind one hook, at the points that this hook listens to."""

    def __init__(self, moments: Moments, hook: Any, place: int) -> None:
        self._moments = moments
        self.name = f"verify_resume_mark_{place}"
        self.rank = getattr(hook, "rank", 3)
        owner = ("hook", str(getattr(hook, "name", None) or place), type(hook).__name__)
        for point in POINTS:
            method = getattr(hook, point, None)
            if method is not None and not getattr(method, "__silent__", False):
                setattr(self, point, self._behind(owner, point))

    def _behind(self, owner: Owner, point: str) -> Callable[[Any], None]:
        return lambda stage: self._moments.note(owner, point, update=_of(stage, point))


def _of(stage: Any, point: str) -> str | None:
    """The update whose gradients are there at that point."""
    return stage.update if point in ("after_backward", "before_optimize") else None


def _gradients(trainer: Trainer, update: str) -> dict[str, str]:
    names = {
        id(parameter): f"{network}/{name}"
        for network, module in trainer.networks.items()
        for name, parameter in module.named_parameters()
    }
    return {
        f"gradients/{names.get(id(one), place)}": summary(one.grad)
        for group in trainer.optimizers[update].param_groups
        for place, one in enumerate(group["params"])
    }


def _kept(trainer: Trainer) -> dict[str, dict[str, str]]:
    """What each part holds in attributes, outside what torch itself keeps there."""
    kept = {f"hook:{name}": attributes(hook) for name, hook in trainer.hooks.items()}
    for name, optimizer in trainer.optimizers.items():
        kept[f"optimizer:{name}"] = attributes(optimizer, without=_OPTIMIZER_OWN)
    roots: dict[str, Any] = dict(trainer.networks)
    roots["criterion"] = getattr(trainer.task, "criterion", None)
    for root, module in roots.items():
        kind = "criterion" if root == "criterion" else "network"
        if isinstance(module, nn.Module):
            for path, part in module.named_modules():
                kept[f"{kind}:{root}.{path}".rstrip(".")] = attributes(part, without=_TORCH_OWN)
    kept["task:"] = attributes(trainer.task)
    return {part: values for part, values in kept.items() if values}
