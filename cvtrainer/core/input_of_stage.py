"""The input that the evaluation split of a resolved stage writes out: pictures, or arrays.

Of pictures the nodes of transforms, tensorizer and device steps are read; a step that has no form
in the spec is told by name, because what it does could not be repeated elsewhere. Of arrays is told
who makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cvtrainer.core.array_spec import ArraySpec
from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    KERNELS,
    CenterCrop,
    Fill,
    Grey,
    InputSpec,
    Pad,
    PadTo,
    Resize,
    Size,
    Step,
)
from cvtrainer.core.naming import class_name, snake_case

Node = Mapping[str, Any]

_IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
_BYTES = ("uint8", "byte")
_IMAGES = ("image_tensorizer", "image")
_FIELDS = ("x", "image")
"""What the network's input is called, where nobody says otherwise."""


def evaluation_block(stage: Node) -> Node | None:
    """The split that measures the stage."""
    loaders = stage.get("dataloader") or {}
    found: Node | None = loaders.get("val") or loaders.get("test") or None
    return found


def input_of(stage: Node) -> InputSpec | ArraySpec:
    """What the stage's network is fed with: pictures where an image tensorizer makes its input,
    else arrays."""
    block = evaluation_block(stage)
    if block is None or _image_node(block) is not None:
        return input_spec_of(stage)
    mapping = _mapping(block)
    name = next((one for one in _FIELDS if one in mapping), next(iter(mapping), _FIELDS[0]))
    return array_spec_of(stage, name)


def array_spec_of(stage: Node, name: str) -> ArraySpec:
    """Who makes the arrays of that field in evaluation."""
    block = evaluation_block(stage) or {}
    split = next((one for one, other in stage["dataloader"].items() if other is block), "val")
    where = f"stages.{stage['name']}.dataloader.{split}"
    made = _mapping(block).get(name)
    dataset: Node = block.get("dataset") or {}
    written = (dataset.get("kwargs") or {}).get("columns") or {}
    columns = written.get("inputs" if name in _FIELDS else name) or ()
    return ArraySpec(
        name,
        where=f"{where}.dataset" if made is None else f"{where}.tensorizer",
        tensorizer=made,
        columns=(columns,) if isinstance(columns, str) else tuple(map(str, columns)),
    )


def input_spec_of(stage: Node) -> InputSpec:
    """The spec of the stage's pictures; a `UserError` says which step has none."""
    where = f"stages.{stage['name']}.dataloader"
    block = evaluation_block(stage)
    if block is None:
        raise UserError(
            "no val or test split says how to prepare an input",
            where=where,
            todo="Write one with the transforms and the tensorizer of evaluation.",
        )
    found = _image_node(block)
    if found is None:
        raise UserError(
            "the tensorizer's mapping has no pictures, so there is no input spec",
            where=f"{where}.tensorizer",
            todo="Name an image tensorizer for the field x, if the network takes pictures.",
        )
    name, image = found
    arguments = dict(image.get("kwargs") or {})
    steps = [*_written_steps(block, where), *_resize_of_tensorizer(arguments)]
    normalize = arguments.get("normalize", "imagenet")
    scaled = str(arguments.get("dtype", "float")) not in _BYTES
    for node in block.get("device_steps") or ():
        kind = snake_case(class_name(node["type"]))
        if kind != "normalize":
            raise _without_form(f"the device step {kind}", where)
        normalize, scaled = (node.get("kwargs") or {}).get("normalize", "imagenet"), True
    numbers: Node = _IMAGENET if normalize == "imagenet" else normalize or {}
    decode = (block.get("decode") or {}).get("kwargs") or {}
    return InputSpec(
        steps=tuple(steps),
        scaled=scaled,
        mean=_numbers(numbers.get("mean", ())),
        std=_numbers(numbers.get("std", ())),
        truncated=str(decode.get("truncated", "replace")),
        scaled_jpeg=bool(decode.get("scaled", False)),
        max_pixels=int(decode.get("max_pixels", InputSpec.max_pixels)),
        name=name,
    )


def known_input(stage: Node, channels: int | None) -> InputSpec | None:
    """The same for a network of so many channels; None where a step has no form in a spec."""
    try:
        spec = input_spec_of(stage)
    except UserError:
        return None
    return spec if channels is None else spec.changed(channels=channels)


def _image_node(block: Node) -> tuple[str, Node] | None:
    """The field of the network's pictures and what makes tensors of them."""
    mapping = _mapping(block)
    for name in _FIELDS:
        made = mapping.get(name)
        if made is not None and snake_case(class_name(made["type"])) in _IMAGES:
            return name, made
    return None


def _mapping(block: Node) -> Mapping[str, Node]:
    """The tensorizers of the split by field."""
    node = block.get("tensorizer") or {}
    found = node.get("mapping") or (node.get("kwargs") or {}).get("mapping") or {}
    return {name: {"type": made} if isinstance(made, str) else made for name, made in found.items()}


def _written_steps(block: Node, where: str) -> list[Step]:
    written = block.get("transforms")
    if not written:
        return []
    torch_like = str(written.get("backend", "")).lower() == "torchvision"
    steps: list[Step] = []
    for node in written.get("transforms") or ():
        one: Node = {"type": node} if isinstance(node, str) else node
        kind = str(one["type"])
        make = _FORMS.get(kind)
        arguments = dict(one.get("kwargs") or {})
        if make is None:
            raise _without_form(kind, where)
        made = make(arguments, torch_like)
        if made is None:
            raise _without_form(f"{kind} with {arguments}", where)
        steps.append(made)
    return steps


def _without_form(what: str, where: str) -> UserError:
    return UserError(
        f"{what} has no form in an input spec, so the stage cannot be deployed",
        where=where,
        todo="Evaluate with resizes, centre crops, borders and grey only.",
    )


def _resize(given: dict[str, Any], torch_like: bool) -> Step | None:
    kernel = given.get("interpolation", "bilinear")
    if kernel not in KERNELS:
        return None
    words = {"kernel": kernel, "shrink": _shrink(kernel, given.get("antialias"), torch_like)}
    size = given.get("size")
    if isinstance(size, int):
        return Resize(shorter=size, **words)
    return Resize(size=_size(given), **words)


def _shrink(kernel: str, antialias: bool | None, torch_like: bool) -> str:
    """What each back end does to a picture that gets smaller."""
    if torch_like:
        return "plain" if antialias is False or kernel == "nearest" else "smooth"
    return "area" if antialias or kernel == "area" else "plain"


def _by_side(word: str) -> Callable[[dict[str, Any], bool], Step | None]:
    def make(given: dict[str, Any], torch_like: bool) -> Step | None:
        kernel = given.get("interpolation", "bilinear")
        if kernel not in KERNELS:
            return None
        shrink = _shrink(kernel, given.get("antialias"), torch_like)
        side: dict[str, Any] = {word: int(given["max_size"])}
        return Resize(**side, kernel=kernel, shrink=shrink)

    return make


def _center_crop(given: dict[str, Any], torch_like: bool) -> Step:
    pad = bool(given.get("pad_if_needed", False))
    return CenterCrop(size=_size(given), pad=pad, fill=_fill(given))


def _pad(given: dict[str, Any], torch_like: bool) -> Step:
    padding = given["padding"]
    sides = (padding,) * 4 if isinstance(padding, int) else tuple(int(one) for one in padding)
    left, top, right, bottom = sides * 2 if len(sides) == 2 else sides
    return Pad(sides=(left, top, right, bottom), fill=_fill(given))


def _pad_to(given: dict[str, Any], torch_like: bool) -> Step:
    return PadTo(size=(int(given["min_height"]), int(given["min_width"])), fill=_fill(given))


def _grey(given: dict[str, Any], torch_like: bool) -> Step | None:
    return Grey() if given.get("p") == 1 else None


_FORMS: dict[str, Callable[[dict[str, Any], bool], Step | None]] = {
    "Resize": _resize,
    "SmallestMaxSize": _by_side("shorter"),
    "LongestMaxSize": _by_side("longer"),
    "CenterCrop": _center_crop,
    "Pad": _pad,
    "PadIfNeeded": _pad_to,
    "ToGray": _grey,
}


def _resize_of_tensorizer(arguments: dict[str, Any]) -> list[Step]:
    """The tensorizer's own resize works on fractions, after the scaling."""
    wanted = arguments.get("resize")
    if wanted is None:
        return []
    height, width = (wanted, wanted) if isinstance(wanted, int) else wanted
    whole = str(arguments.get("dtype", "float")) in _BYTES
    return [Resize(size=(int(height), int(width)), shrink="smooth", rounded=whole)]


def _size(given: dict[str, Any]) -> Size:
    size = given.get("size")
    if size is None:
        return int(given["height"]), int(given["width"])
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def _fill(given: dict[str, Any]) -> Fill:
    value = given.get("fill", 0)
    if isinstance(value, Sequence):
        return tuple(float(one) for one in value)
    return float(value)


def _numbers(value: Any) -> tuple[float, ...]:
    return (float(value),) if isinstance(value, int | float) else tuple(float(one) for one in value)
