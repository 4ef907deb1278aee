"""Putting saved weights into networks by name, with an exact account of what did not fit.

Strict by default: a shape that differs, a name that is missing or left over is told, all of it in
one error, and nothing is changed. Otherwise what fits is loaded and the rest keeps its values; that
nothing fits at all is an error even then. Modules that load in a way of their own decide for
themselves what fits them. A first convolution may be converted to other input channels, and a part
may say by what names its own library knows its weights (`library_names`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from cvtrainer.core.errors import UserError
from cvtrainer.ddp.pieces import cut_like
from cvtrainer.engine.weight_files import Weights, weights_for_use
from cvtrainer.engine.weight_names import NameRules, bare
from cvtrainer.ops.stem import fitted_filters

__all__ = ["Fit", "Loading", "load_weights", "some", "weights_for_use"]

_OF_WRAPPERS = ("n_averaged",)
_FORGIVEN = "num_batches_tracked"
"""Old files lack it, and torch itself does not mind."""


@dataclass
class Fit:
    """What became of one network's weights; `source` is where they were taken from."""

    network: str
    source: str | None
    loaded: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    wrong_shape: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    converted: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)
    refused: str | None = None

    def complaints(self) -> list[str]:
        """What is wrong, in a few words each; nothing where all fits."""
        wrong = [
            f"{name} is {tuple(given)}, the model has {tuple(own)}"
            for name, (given, own) in self.wrong_shape.items()
        ]
        missing = [name for name in self.missing if name.rpartition(".")[2] != _FORGIVEN]
        found = [
            f"{word}: {some(names)}"
            for word, names in (
                ("wrong shape", wrong),
                ("missing", missing),
                ("unknown to the model", self.unexpected),
            )
            if names
        ]
        return found + ([self.refused] if self.refused else [])


class Loading:
    """One network about to get weights; `fit` is known before anything is changed."""

    def __init__(
        self,
        network: nn.Module,
        weights: Weights,
        rules: NameRules,
        *,
        name: str = "model",
        source: str | None = None,
        convert_stem: bool = False,
    ) -> None:
        self.network = network
        self.fit = Fit(name, source)
        self._stem = _stem(network) if convert_stem else None
        self._own: Mapping[str, Any] = network.state_dict(keep_vars=True)
        self._self_loading = tuple(_self_loading(network))
        self._chosen: dict[str, Any] = {}
        self._unsorted: dict[str, Any] = {}
        self._compare(weights, rules, self._match(weights, rules))
        self.idle_rules = rules.idle(weights, map(bare, self._own))

    def _match(self, weights: Weights, rules: NameRules) -> list[str]:
        """Find each weight's place: names that fit as they are go first; the rest is returned."""
        places = {bare(name): name for name in self._own} | {name: name for name in self._own}
        for theirs, ours in _library_names(self.network):
            if bare(ours) in places:
                places.setdefault(theirs, places[bare(ours)])
        left = list(weights)
        for depth in (1, None):
            waiting, left = left, []
            for name in waiting:
                candidates = list(rules.candidates(name))[:depth]
                place = next((places[one] for one in candidates if one in places), None)
                if place is None or place in self._chosen:
                    left.append(name)
                    continue
                self._chosen[place] = weights[name]
                if bare(name) != bare(place):
                    self.fit.renamed[place] = name
        return left

    def _compare(self, weights: Weights, rules: NameRules, left: Iterable[str]) -> None:
        """Sort every name of both sides into the account."""
        fit, own = self.fit, self._own
        for name in own:
            if not rules.wants(bare(name)):
                fit.skipped.append(name)
                self._chosen.pop(name, None)
                fit.renamed.pop(name, None)
        for name, value in list(self._chosen.items()):
            if self._loads_itself(name) or _fits(value, own[name]):
                continue
            if bare(name) == self._stem and _differ_in_channels(value, own[name]):
                self._chosen[name] = fitted_filters(value, own[name].shape[1])
                fit.converted[name] = (list(value.shape), list(own[name].shape))
            else:
                fit.wrong_shape[name] = (list(value.shape), list(own[name].shape))
                del self._chosen[name]
        for name in left:
            if self._loads_itself(rules.apply(name)):
                self._unsorted[rules.apply(name)] = weights[name]
            elif name not in _OF_WRAPPERS and all(map(rules.wants, rules.candidates(name))):
                fit.unexpected.append(name)
        there = {id(own[name]) for name in self._chosen}
        for name in own:
            if name in self._chosen or id(own[name]) in there or self._may_come(name):
                fit.loaded.append(name)
            elif name not in fit.wrong_shape and name not in fit.skipped:
                fit.missing.append(name)
        for part in _own_findings(self.network):
            found_later = {name for name in own if name.startswith(part)}
            if found_later.issubset(fit.missing):
                fit.missing = [name for name in fit.missing if name not in found_later]

    def carry_out(self, *, strict: bool) -> None:
        """Put in what fits; everything else keeps its value."""
        fit, given = self.fit, {**self._unsorted, **self._chosen}
        for name, value in self._own.items():
            if name not in given and not self._may_come(name):
                given[name] = value
        cut = {name: cut_like(value, self._own.get(name)) for name, value in given.items()}
        try:
            told = self.network.load_state_dict(cut, strict=strict)
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
            fit.refused = " ".join(lines) or str(error)
            return
        absent = set(told.missing_keys)
        fit.missing += [name for name in fit.loaded if name in absent]
        fit.loaded = [name for name in fit.loaded if name not in absent]
        fit.unexpected += [name for name in self._unsorted if name in told.unexpected_keys]

    def _may_come(self, name: str) -> bool:
        """Whether a module that loads in its own way may make this out of names left over."""
        homes = [one for one in self._self_loading if name.startswith(one)]
        return any(one.startswith(home) for home in homes for one in self._unsorted)

    def _loads_itself(self, name: str) -> bool:
        return name.startswith(self._self_loading)


def load_weights(network: nn.Module, weights: Weights, *, source: str) -> None:
    """Load all of them or say in one line what does not fit."""
    loading = Loading(network, weights, NameRules())
    if not loading.fit.complaints():
        loading.carry_out(strict=True)
    complaints = loading.fit.complaints()
    if complaints:
        raise UserError(
            f"{source}: the weights do not fit the model ({'; '.join(complaints)}); "
            "use the model they were trained with"
        )


def some(names: list[str], most: int = 3) -> str:
    """The first few, and how many there are besides."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _fits(given: Any, own: Any) -> bool:
    """Same shape; what is no tensor, or has no shape yet, takes anything."""
    if not isinstance(given, Tensor) or not isinstance(own, Tensor) or is_lazy(own):
        return True
    return given.shape == own.shape


def _stem(network: nn.Module) -> str | None:
    """The weight of the first convolution, which sees the input's channels."""
    for path, module in network.named_modules():
        if isinstance(module, _ConvNd) and module.groups == 1:
            return bare(f"{path}.weight".lstrip("."))
    return None


def _differ_in_channels(given: Any, own: Any) -> bool:
    """Whether two filter banks are of one form but for the channels they see."""
    forms = {(one.shape[0], *one.shape[2:]) for one in (given, own)}
    return given.ndim == own.ndim > 2 and len(forms) == 1


def _library_names(network: nn.Module) -> Iterable[tuple[str, str]]:
    """Names that parts are known by in the libraries they come from, and those they have here."""
    for path, module in network.named_modules():
        told = getattr(module, "library_names", None)
        before = f"{path}." if path else ""
        for theirs, ours in told().items() if callable(told) else ():
            yield bare(before + theirs), before + ours


def _own_findings(network: nn.Module) -> Iterable[str]:
    """Prefixes of parts that training fills, so that a source may lack them as a whole."""
    for path, module in network.named_modules():
        if getattr(module, "may_be_missing", False) is True:
            yield f"{path}."


def _self_loading(network: nn.Module) -> Iterable[str]:
    """Prefixes of modules that load their weights by rules of their own, torch's plain ones not."""
    for path, module in network.named_modules():
        place = getattr(type(module)._load_from_state_dict, "__module__", "")
        if module._load_state_dict_pre_hooks or not place.startswith("torch.nn.modules."):
            yield f"{path}." if path else ""
