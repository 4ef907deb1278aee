"""Networks of torchvision by name, never with weights on their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.models.backbones.published import fetched


def library_network(name: str, room: str, **arguments: Any) -> nn.Module:
    """The network of that room of torchvision's models, with fresh weights."""
    from torchvision import models

    module, backbone = models, {}
    if room != "classification":
        module, backbone = getattr(models, room), {"weights_backbone": None}
    known = models.list_models(module=module)
    if name not in known:
        near = nearest(name, known)
        raise UserError(
            f"torchvision has no {room} network {name!r}",
            todo=f"Did you mean {near}?" if near else f"It has {', '.join(known)}.",
        )
    network: nn.Module = models.get_model(name, weights=None, **backbone, **arguments)
    return network


def published_network(name: str, which: str | None, **arguments: Any) -> Mapping[str, Tensor]:
    """All weights of the network, as torchvision has trained them."""
    from torchvision import models

    known = [one.name for one in models.get_model_weights(name)]
    if which is not None and which not in ("DEFAULT", *known):
        raise UserError(
            f"torchvision has no weights {which!r} for {name}",
            todo=f"It has {', '.join(known)}." if known else "It has none for it.",
        )
    what = f"torchvision's {name}"
    network = fetched(what, lambda: models.get_model(name, weights=which or "DEFAULT", **arguments))
    weights: Mapping[str, Tensor] = network.state_dict()
    return weights
