"""What a graph needs to train: the network's own norms, and dropout behind the rounding."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn.modules.batchnorm import _BatchNorm

from cvtrainer.deploy.quantize.layers import is_layer, kind_of, module_path

_ALONE = "norm_alone"
DROPOUTS = ("dropout", "dropout_", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")


def call_norms(module: GraphModule) -> dict[Node, Node]:
    """Let the graph call the network's own norms; gives those that belong to a layer, by it."""
    belong: dict[Node, Node] = {}
    for node in list(module.graph.nodes):
        if node.op != "call_function" or kind_of(node) != "batch_norm":
            continue
        path = _norm_alone(module, module_path(node))
        if path is None:
            continue
        source = node.args[0]
        with module.graph.inserting_before(node):
            call = module.graph.call_module(path, (source,))
        call.meta = copy(node.meta)
        node.replace_all_uses_with(call)
        module.graph.erase_node(node)
        if is_layer(source) and len(source.users) == 1:
            belong[source] = call
    for node in list(module.graph.nodes):  # the norms count their batches themselves
        target = node.all_input_nodes[0].target if kind_of(node) == "add_" else ""
        if str(target).endswith(".num_batches_tracked") and not node.users:
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.recompile()
    return belong


class NormAlone(nn.Module):
    """A norm without what its own class does behind it, such as an activation: the graph has that
    already. It has nothing of its own, so the network's names stay what they were."""

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self._norm = (norm,)

    @property
    def norm(self) -> _BatchNorm:
        """A part of it can hold it in a tuple only."""
        return self._norm[0]

    def forward(self, x: Tensor) -> Tensor:
        return _BatchNorm.forward(self.norm, x)


def norm_at(module: GraphModule, path: str) -> _BatchNorm | None:
    """The norm that a call goes to, where it goes to one."""
    found = module.get_submodule(path)
    if isinstance(found, NormAlone):
        return found.norm
    return found if isinstance(found, _BatchNorm) else None


def _norm_alone(module: GraphModule, path: str) -> str | None:
    """Where the norm of that path can be called by itself."""
    norm = module.get_submodule(path)
    if not isinstance(norm, _BatchNorm):
        return None
    if type(norm).forward in (_BatchNorm.forward, nn.SyncBatchNorm.forward):
        return path
    if not hasattr(norm, _ALONE):
        norm.add_module(_ALONE, NormAlone(norm))
    return f"{path}.{_ALONE}"


@dataclass(frozen=True)
class _Dropout:
    """Dropout between a value and one who reads it; `after` stands nearer to the reader."""

    source: str
    kind: Any
    share: float
    module: str
    after: _Dropout | None = None


def without_dropout(module: GraphModule) -> dict[str, list[_Dropout]]:
    """Take it out, for it belongs behind the rounding of a value; by the name of who reads it."""
    found: dict[str, list[_Dropout]] = {}
    for node in reversed(list(module.graph.nodes)):
        if node.op != "call_function" or kind_of(node) not in DROPOUTS:
            continue
        source = node.args[0]
        for user in node.users:
            mine = found.setdefault(user.name, [])
            last = next((one for one in mine if one.source == node.name), None)
            if last is not None:
                mine.remove(last)
            made = _Dropout(source.name, node.target, node.args[1], module_path(node), last)
            mine.append(made)
        node.replace_all_uses_with(source)
        module.graph.erase_node(node)
    return found


def with_dropout(module: GraphModule, dropped: dict[str, list[_Dropout]]) -> None:
    """Put it back; it asks the module it comes from whether that trains."""
    for user in list(module.graph.nodes):
        for one in dropped.get(user.name, ()):
            value = next(
                (arg for arg in user.all_input_nodes if one.source in (arg.name, _inside(arg))),
                None,
            )
            step: _Dropout | None = one
            while value is not None and step is not None:
                with module.graph.inserting_before(user):
                    mode = module.graph.create_node("get_attr", f"{step.module}.training")
                    made = module.graph.call_function(step.kind, (value, step.share, mode))
                made.meta = copy(value.meta)
                user.replace_input_with(value, made)
                value, step = made, step.after


def _inside(node: Node) -> str:
    """What a rounding rounds."""
    first = node.args[0] if node.op == "call_module" and node.args else None
    return first.name if isinstance(first, Node) else ""
