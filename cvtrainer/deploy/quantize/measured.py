"""What a calibration sample showed: gathered once, and read by every scheme that is tried."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.fx import GraphModule, Node

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.quantize.histogram import Histogram
from cvtrainer.deploy.quantize.layers import tensor_at
from cvtrainer.deploy.quantize.switches import observers_of, source_of


class Measured:
    """The histograms of one program and one sample, by whose values they hold.

    Equalised weights give other values, so these are kept apart.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[bool, frozenset[str]], Histogram] = {}

    def give(self, prepared: GraphModule, batches: Iterable[Tensor], *, equalised: bool) -> None:
        """Let every observer of the graph have seen the batches; they run if one has not."""
        from cvtrainer.deploy.quantize.observers import CalibratedObserver  # needs torchao

        sources: dict[nn.Module, set[Node]] = {}
        for node, observer in observers_of(prepared).items():
            sources.setdefault(observer, set()).add(source_of(node))
        new: dict[tuple[bool, frozenset[str]], Histogram] = {}
        run = False
        for observer, nodes in sources.items():
            if isinstance(observer, CalibratedObserver):
                key = (equalised, frozenset(node.name for node in nodes))
                if key in self._found:
                    observer.histogram, observer.watching = self._found[key], False
                else:
                    new[key], run = observer.histogram, True
            elif all(node.op == "get_attr" for node in nodes):
                for node in nodes:
                    observer(tensor_at(prepared, node))
            else:
                run = True
        if run:
            _run(prepared, batches)
        self._found |= new


def _run(prepared: GraphModule, batches: Iterable[Tensor]) -> None:
    seen = 0
    for rows in batches:
        prepared(rows)
        seen += len(rows)
    if not seen:
        raise UserError("the calibration sample is empty, so no range is known")
