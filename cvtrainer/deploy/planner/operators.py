"""Watching torch's operators one by one, with the multiply-accumulates of each.

Counted are convolutions and matrix products of every kind (linear layers, attention, recurrent
cells, bare `@`), by torch's own formulas. Additions of a bias, norms and activations are no
multiply-accumulates of a matrix and do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

Seen = Callable[[int, Any, Any], None]
"""Told of each operator: multiply-accumulates, what went in, what came out."""


class OperatorWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Tells of each operator that runs, taken apart until each has a formula or is elementary."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operator = func._overloadpacket
        formula = flop_registry.get(operator)
        if formula is None and func.namespace != "prim":  # those are questions, not operators
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        macs = 0 if formula is None else int(formula(*args, **kwargs, out_val=out)) // 2
        self._seen(macs, (args, kwargs), out)
        return out


@contextmanager
def whole_operators() -> Iterator[None]:
    """Attention and recurrent layers as the products they are made of, not as one fused kernel."""
    fast = torch.backends.mha.get_fastpath_enabled()
    mkldnn: Any = torch.backends.mkldnn
    fused, mkldnn.enabled = mkldnn.enabled, False
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        mkldnn.enabled = fused
