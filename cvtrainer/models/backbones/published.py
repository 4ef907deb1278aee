"""Weights that a library has published for its network: fetched when asked for, never otherwise.

A backbone around such a network has `published_weights`, which fetches them, and `library_names`,
which tells by what names the library knows its weights. A config's `pretrained` uses both with a
whole account of what fits; `take_published` is for those who make a backbone in Python.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.ops.stem import fitted_filters

Fetched = TypeVar("Fetched")
_SECONDS = 5.0


class _WithPublished(Protocol):
    in_channels: int

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, weights: Mapping[str, Tensor], /) -> object: ...

    def library_names(self) -> Mapping[str, str]: ...

    def published_weights(self, which: str | None = None) -> Mapping[str, Tensor]: ...


def take_published(backbone: _WithPublished, which: str | None = None) -> None:
    """Fetch and load what fits; the first convolution is converted to the backbone's channels."""
    names, own = backbone.library_names(), backbone.state_dict()
    for theirs, value in backbone.published_weights(which).items():
        name = names.get(theirs, theirs)
        if name not in own:
            continue
        if value.shape != own[name].shape and value.ndim == 4:
            value = fitted_filters(value, own[name].shape[1])
        if value.shape == own[name].shape:
            own[name] = value
    backbone.load_state_dict(own)


def fetched(what: str, get: Callable[[], Fetched], *, host: str | None = None) -> Fetched:
    """What `get` downloads, or one line that says why there is nothing.

    A `host` is asked first whether it is there, for libraries that would try again and again.
    """
    try:
        if host is not None and not getproxies():
            socket.create_connection((host, 443), timeout=_SECONDS).close()
        return get()
    except UserError:
        raise
    except Exception as error:  # each library, proxy and network has failures of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"the weights of {what} could not be fetched ({reason})",
            where="pretrained",
            todo="Without a network, give a file: pretrained: FILE.",
        ) from error


def timm_weights(name: str, make: Callable[..., nn.Module]) -> Mapping[str, Tensor]:
    """What `make(pretrained=True)` gives, from the library's cache or its host."""
    import timm
    from huggingface_hub import constants, try_to_load_from_cache

    known = None if ":" in name else timm.models.get_pretrained_cfg(name)
    if ":" not in name and (known is None or not known.has_weights):
        raise UserError(
            f"timm has published no weights for {name}",
            where="pretrained",
            todo="Give a file: pretrained: FILE, or leave it out.",
        )
    hub_id: str = (known.hf_hub_id or "") if known is not None else name.partition(":")[2]
    files = ("model.safetensors", "pytorch_model.bin") if hub_id else ()
    cached = any(isinstance(try_to_load_from_cache(hub_id, file), str) for file in files)
    host = urlsplit(constants.ENDPOINT).hostname if hub_id and not cached else None
    network = fetched(f"timm's {name}", lambda: make(pretrained=True), host=host)
    weights: Mapping[str, Tensor] = network.state_dict()
    return weights
