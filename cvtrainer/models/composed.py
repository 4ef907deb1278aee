"""A model from a backbone, an adapter and a head.

The channels are handed over from left to right: parts that were written without theirs are fitted
to their neighbour, parts that have them are compared with it. Plain torch modules (a Linear, a
Conv2d, one's own) may stand in every place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.adapters.identity import Identity
from cvtrainer.models.heads.several import SeveralHeads, heads_of
from cvtrainer.models.parts import Connected, Head, OnPyramid, Pyramid


class BaseModel(nn.Module):
    """`head(adapter(backbone(x)))`; without an adapter the features pass as they are.

    A mapping of heads gives an output for each, by its name. Beside heads that take maps of several
    sizes, those that pool get the coarsest: the adapter's, or the backbone's where the adapter has
    finer ones alone.
    """

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")
    OF_PARTS: ClassVar[bool] = True

    def __init__(
        self,
        backbone: nn.Module,
        adapter: nn.Module | None = None,
        head: nn.Module | Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if head is None:
            raise UserError(
                "BaseModel has no head; name one, such as {type: multiclass, kwargs: "
                "{num_classes: 10}}"
            )
        self.backbone = backbone
        self.adapter = Identity() if adapter is None else adapter
        self.head = SeveralHeads(head) if isinstance(head, Mapping) else head
        _connect(self.backbone, self.adapter)
        giver = self.backbone if adapter is None else self.adapter
        pooling = _pooling_beside_others(self.head) if _maps(self.adapter) is not None else {}
        for one in heads_of(self.head):
            if one not in pooling.values():
                _connect(self.adapter, one, _name(giver))
        self._passes_over = bool(pooling) and self._connect_pooling(pooling)

    def forward(self, x: Tensor) -> Any:
        given = self.backbone(x)
        features = self.adapter(given)
        if self._passes_over:
            return self.head(features, x.shape[-2:], given[-1])
        if getattr(self.head, "takes_size", False):
            return self.head(features, x.shape[-2:])
        return self.head(features)

    def _connect_pooling(self, heads: Mapping[str, nn.Module]) -> bool:
        """Fit these to the coarsest map; whether that is the backbone's, past the adapter."""
        own, before = _maps(self.adapter), _maps(self.backbone)
        assert own is not None
        assert isinstance(self.head, SeveralHeads)
        past = before is not None and before.strides[-1] > own.strides[-1]
        coarsest, giver = (before, self.backbone) if past else (own, self.adapter)
        assert coarsest is not None
        for one in heads.values():
            _fit(one, coarsest.channels[-1], _name(giver))
        self.head.pooling = tuple(heads)
        return past

    @property
    def backbone_channel(self) -> int | None:
        """Channels that the backbone gives; None where it does not say."""
        return _given(self.backbone)

    @property
    def head_channel(self) -> int | None:
        """Channels that the head takes; None where it does not say."""
        return _taken(self.head)


def _connect(left: nn.Module, right: nn.Module, giver: str = "") -> None:
    """Fit the right part to the left one, or see that they fit; errors call the left one `giver`,
    where it is not the part that was asked for."""
    giver = giver or _name(left)
    maps = _maps(left)
    if isinstance(right, OnPyramid):
        if maps is None:
            raise UserError(
                f"{_name(right)} takes maps of several sizes and {giver} gives one",
                todo="Use a backbone with taps, such as {type: edge_net, taps: [8, 16, 32]}.",
            )
        right.connect(maps)
        return
    if maps is not None:
        if isinstance(right, Identity):
            right.pyramid = maps
            return
        raise UserError(
            f"{giver} gives maps of {len(maps.strides)} sizes and {_name(right)} takes one",
            todo=f"Leave out the taps of {giver}, or use a part that takes several.",
        )
    given, taken = _given(left), _taken(right)
    if given is None:
        if taken is None and isinstance(right, Connected) and not isinstance(right, Identity):
            raise UserError(
                f"{_name(right)} cannot be fitted: {giver} does not say its out_channels",
                todo=f"Give {_name(right)} its in_channels.",
            )
        return
    _fit(right, given, giver)


def _fit(right: nn.Module, given: int, giver: str) -> None:
    """To so many channels, or see that it takes as many."""
    taken = _taken(right)
    if taken is not None and taken != given:
        raise UserError(
            f"{giver} gives {given} channels and {_name(right)} takes {taken}",
            todo=f"Leave out the in_channels of {_name(right)} to have it fitted.",
        )
    if isinstance(right, Connected):
        right.connect(given)


def _pooling_beside_others(head: nn.Module) -> dict[str, nn.Module]:
    """Heads for vectors beside heads that take maps of several sizes."""
    if not isinstance(head, SeveralHeads):
        return {}
    if not any(isinstance(one, OnPyramid) for one in head.values()):
        return {}
    return {name: one for name, one in head.items() if isinstance(one, Head) and one.POOLS}


def _maps(part: nn.Module) -> Pyramid | None:
    pyramid = getattr(part, "pyramid", None)
    return pyramid if isinstance(pyramid, Pyramid) else None


def _given(part: nn.Module) -> int | None:
    """Output channels, as our parts or torch's layers call them."""
    return _first_number(part, "out_channels", "out_features")


def _taken(part: nn.Module) -> int | None:
    """Input channels, as our parts or torch's layers call them."""
    return _first_number(part, "in_channels", "in_features")


def _first_number(part: nn.Module, *names: str) -> int | None:
    values = (getattr(part, name, None) for name in names)
    return next((value for value in values if isinstance(value, int)), None)


def _name(part: nn.Module) -> str:
    return type(part).__name__
