"""Around a task's computation: what a network cannot take is told in one line, with its layer.

The first batch is looked at more closely: pictures that are smaller than the coarsest map's stride
or leave a layer nothing to stride over, and, in training, a loss that nothing can be learnt from.
That waits for the device once per stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cvtrainer.core.errors import UserError
from cvtrainer.engine.binding import batch_size, getter, input_fields, leaf_keys
from cvtrainer.engine.blame import (
    ABOUT_VALUES,
    first_line,
    form_of_tensor,
    innermost_layer,
    raised_by_library,
    sample_at,
    users_line,
)
from cvtrainer.engine.finding import bad_kind, bad_rows, tensors_in
from cvtrainer.protocols import Batch, UpdateResult

Compute = Callable[[Batch], UpdateResult]

_TOO_SMALL = (
    "Output size is too small",
    "Kernel size can't be greater than actual input size",
    "Padding size should be less than",
)
_LONELY = "Expected more than 1 value per channel"


def explaining(
    compute: Compute,
    networks: Mapping[str, nn.Module],
    *,
    learns: bool,
    guarded: bool = False,
    compiled: bool = False,
) -> Compute:
    """The same computation; `guarded` says that somebody else looks for what is no number,
    `compiled` that layers must not be looked into."""
    seen = False
    layers = {} if compiled else networks

    def compute_and_explain(batch: Batch) -> UpdateResult:
        nonlocal seen
        try:
            if seen:
                return compute(batch)
            _refuse_small(networks, batch)
            with _refusing_idle_strides(layers, batch):
                result = compute(batch)
        except ABOUT_VALUES as error:
            explain(error, networks, batch)
            raise
        if learns:
            _refuse_useless(result, batch, guarded)
        seen = True
        return result

    return compute_and_explain


def explain(error: Exception, networks: Mapping[str, nn.Module], batch: Batch) -> None:
    """Raise the one line about what a layer could not take; nothing where it is no library's."""
    found = innermost_layer(error)
    if found is None or not raised_by_library(error):
        return
    layer, given = found
    line = users_line(error)
    name = _name_of(layer, networks)
    told = _disagreement(layer, given) or (
        f"cannot take {form_of_tensor(given)}: {first_line(error)}"
        if given is not None
        else first_line(error)
    )
    raise UserError(
        f"layer {name} ({type(layer).__name__}) {told}; it was given {_inputs(batch)}",
        where=f"model ({line})" if line else "model",
        todo=_what_to_do(layer, given, error),
    ) from error


def _disagreement(layer: nn.Module, given: Tensor | None) -> str | None:
    """What a convolution, a linear layer or an embedding takes, and what it got."""
    if given is None:
        return None
    if isinstance(layer, nn.modules.conv._ConvNd) and given.ndim >= 2:
        unbatched = given.ndim == layer.weight.ndim - 1
        channels = given.shape[0 if unbatched else 1]
        if channels != layer.in_channels:
            return f"takes {layer.in_channels} channels and gets {channels}"
    if isinstance(layer, nn.Linear) and given.shape[-1] != layer.in_features:
        return f"takes {layer.in_features} values and gets {given.shape[-1]}"
    if isinstance(layer, nn.Embedding) and given.numel() and not given.is_floating_point():
        low, high = (int(end) for end in given.aminmax())
        if low < 0 or high >= layer.num_embeddings:
            wrong = low if low < 0 else high
            return f"takes numbers from 0 to {layer.num_embeddings - 1} and gets {wrong}"
    return None


def _what_to_do(layer: nn.Module, given: Tensor | None, error: Exception) -> str:
    if _LONELY in str(error) and given is not None and given.ndim == 2:
        return "Have more than one sample in each batch: drop_last: true, or another batch_size."
    if any(words in str(error) for words in (*_TOO_SMALL, _LONELY)):
        return "Give larger pictures, or a network with fewer strides."
    if isinstance(layer, nn.modules.conv._ConvNd) and _disagreement(layer, given):
        return "Set the model's in_channels, or read the pictures with as many channels."
    if isinstance(layer, nn.Linear) and _disagreement(layer, given):
        return "Pool before it, or resize all pictures to the size that it was made for."
    if isinstance(layer, nn.Embedding) and _disagreement(layer, given):
        return "Set the model's tokens or categories to as many as the tensorizer makes."
    if given is not None and not given.is_floating_point():
        return "Let the tensorizer make floats, or add the device step normalize."
    return "Look at the sizes and channels of the fields; `cvtrainer model show` lists the layers."


def _name_of(layer: nn.Module, networks: Mapping[str, nn.Module]) -> str:
    for label, network in networks.items():
        for name, module in network.named_modules():
            if module is layer:
                inner = name.removeprefix("module.").removeprefix("_orig_mod.")
                return (
                    inner if label == "model" and inner else ".".join(filter(None, (label, inner)))
                )
    return "of a network"


def _inputs(batch: Batch) -> str:
    keys = leaf_keys(batch)
    fields = [f"{name} {form_of_tensor(getter(keys[name])(batch))}" for name in input_fields(batch)]
    first = sample_at(batch, 0)
    return ", ".join(fields) + (f" beginning with {first}" if first else "")


def _refuse_small(networks: Mapping[str, nn.Module], batch: Batch) -> None:
    """A map whose places stand for more than the picture has nothing to say about it."""
    strides = [
        stride
        for network in networks.values()
        for module in network.modules()
        if (stride := _coarsest_stride(module)) is not None
    ]
    if not strides:
        return
    for name in input_fields(batch):
        value = batch.get(name)
        if isinstance(value, Tensor) and value.ndim == 4 and min(value.shape[2:]) < max(strides):
            height, width = value.shape[2:]
            sample = sample_at(batch, 0)
            raise UserError(
                f"pictures of {height} x {width} are smaller than the stride {max(strides)} of the "
                "model's coarsest map",
                where=f"field {name}" + (f" of {sample}" if sample else ""),
                todo="Give larger pictures, or a backbone with finer taps alone.",
            )


def _coarsest_stride(module: nn.Module) -> int | None:
    """As its maps of several sizes say, or it itself."""
    pyramid = getattr(module, "pyramid", None)
    if pyramid is not None:
        return int(max(pyramid.strides))
    stride = getattr(module, "coarsest_stride", None)
    return stride if isinstance(stride, int) else None


@contextmanager
def _refusing_idle_strides(networks: Mapping[str, nn.Module], batch: Batch) -> Iterator[None]:
    """A layer that steps over more than its map has got a picture too small for the network.

    Padding hides that from torch. A network that was compiled elsewhere is left alone, and one that
    says that it is made so.
    """

    def refuse(layer: nn.Module, given: tuple[object, ...]) -> None:
        value = given[0] if given else None
        steps = _steps(layer)
        if not isinstance(value, Tensor) or value.ndim != 4:
            return
        height, width = value.shape[2:]
        if height < steps[0] or width < steps[1]:
            name = f"{_name_of(layer, networks)} ({type(layer).__name__})"
            raise UserError(
                f"layer {name} takes steps of {max(steps)} on a map of {height} x {width}: the "
                f"pictures are too small; it was given {_inputs(batch)}",
                where="model",
                todo="Give larger pictures, or a network with fewer strides.",
            )

    handles: list[RemovableHandle] = []
    try:
        for network in networks.values():
            if any(_is_compiled(one) or _is_made_so(one) for one in network.modules()):
                continue
            strided = (layer for layer in network.modules() if max(_steps(layer)) > 1)
            handles += [layer.register_forward_pre_hook(refuse) for layer in strided]
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_made_so(module: nn.Module) -> bool:
    return bool(getattr(module, "HAS_IDLE_STRIDES", False))


def _steps(layer: nn.Module) -> tuple[int, int]:
    """The stride of a layer that makes maps smaller; 1 of any other."""
    if not isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return 1, 1
    stride = layer.stride
    return (stride, stride) if isinstance(stride, int) else (stride[0], stride[1])


def _is_compiled(module: nn.Module) -> bool:
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def _refuse_useless(result: UpdateResult, batch: Batch, guarded: bool) -> None:
    loss = result.loss
    parts = {f"the loss's part {name!r}": part for name, part in result.losses.items()}
    for name, value in {**parts, "the loss": loss}.items():
        if isinstance(value, Tensor) and value.numel() != 1:
            raise UserError(
                f"{name} has the shape {list(value.shape)}; it must be one number",
                where="criterion",
                todo="Use reduction: mean, or return the mean.",
            )
    if not loss.requires_grad:
        raise UserError(
            "the loss does not depend on any weight that is trained, so nothing can be learnt",
            where="criterion",
            todo="Look for detach(), no_grad() or frozen parts between the model and the loss.",
        )
    kind = None if guarded else bad_kind(loss.detach())
    if kind is not None:
        raise UserError(
            f"the loss of the first batch is {kind}; {_origin(result, batch)}",
            where="criterion",
            todo="With the hook nan_guard `cvtrainer replay` names the layer where it begins.",
        )


def _origin(result: UpdateResult, batch: Batch) -> str:
    """The first thing before the loss that is no number."""
    fields = {key: value for key, value in batch.items() if key != "meta"}
    for name, tensor in tensors_in(fields):
        if bad_kind(tensor) is not None:
            row = (*bad_rows(tensor, batch_size(batch)), 0)[0]
            sample = sample_at(batch, row)
            return f"{bad_kind(tensor)} stands in field {name}" + (
                f" of {sample}" if sample else ""
            )
    for name, tensor in tensors_in(dict(result.outputs)):
        if bad_kind(tensor.detach()) is not None:
            return f"{bad_kind(tensor.detach())} stands in the model's {name}"
    losses = [name for name, one in tensors_in(result.losses) if bad_kind(one.detach()) is not None]
    which = f" of {', '.join(losses)}" if losses else ""
    return f"fields and outputs are numbers, so it is the computation{which} itself"
