"""Tensors that lie in pieces on several processes: put together, cut again, looked at in place.

A network whose parameters are sharded holds such tensors, and so do its optimizer and whatever
else is made like its parameters. Saved states hold whole tensors, so that they load anywhere.
Tensors in pieces are known by their methods, because importing their class takes long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


def in_pieces(value: object) -> bool:
    """Whether this process holds only a part of the tensor."""
    return hasattr(value, "full_tensor")


def whole(value: Any) -> Any:
    """The same state with every tensor in pieces put together, in host memory, on every rank.

    All ranks must call it with the same form of state.
    """
    if in_pieces(value):
        return put_together(value).cpu()
    if isinstance(value, Mapping):
        return {key: whole(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(whole(part) for part in value)
    return value


def put_together(value: Any) -> Tensor:
    """The whole tensor, on the ranks' own devices; all ranks must ask for it."""
    if not in_pieces(value):
        return value  # type: ignore[no-any-return]
    near: Any = value.detach().to(value.device_mesh.device_type)
    return near.full_tensor()  # type: ignore[no-any-return]


def local(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The parts that lie here, for what is done to each element alone; others as they are."""
    return [one.to_local() if in_pieces(one) else one for one in tensors]  # type: ignore[attr-defined]


def cut_like(value: Any, like: Any) -> Any:
    """A whole tensor cut as the other one is; anything else as it is. Nothing is exchanged."""
    if not in_pieces(like) or in_pieces(value) or not isinstance(value, Tensor):
        return value
    return _cut(value, like, like.placements)


def cut_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A whole state cut as the parameters are that the optimizer moves."""
    own = [one for group in optimizer.param_groups for one in group["params"]]
    if not any(in_pieces(one) for one in own):
        return state
    places = [place for group in state["param_groups"] for place in group["params"]]
    if len(places) != len(own):
        return state
    parameter_at = dict(zip(places, own, strict=True))
    return {
        **state,
        "state": {
            place: {
                name: _like_parameter(part, parameter_at[place]) for name, part in parts.items()
            }
            for place, parts in state["state"].items()
        },
    }


def _like_parameter(value: Any, parameter: Tensor) -> Any:
    """Moments have the parameter's shape; a factor of them is kept whole on each rank."""
    if not in_pieces(parameter) or not isinstance(value, Tensor) or not value.ndim:
        return value
    if value.shape == parameter.shape:
        return cut_like(value, parameter)
    from torch.distributed.tensor import Replicate

    return _cut(value, parameter, [Replicate()])


def _cut(value: Tensor, like: Any, placements: Sequence[Any]) -> Tensor:
    from torch.distributed.tensor import distribute_tensor

    cut: Any = distribute_tensor(value.detach(), like.device_mesh, placements, src_data_rank=None)
    return cut.to(like.device)  # type: ignore[no-any-return]
