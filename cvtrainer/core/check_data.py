"""What is special about data: transforms of either back end, normalisation, loader options."""

from __future__ import annotations

from typing import Any

from cvtrainer.core.check_arguments import check_arguments
from cvtrainer.core.findings import Findings, closest
from cvtrainer.core.resolve import Resolver
from cvtrainer.core.signature import Signatures
from cvtrainer.core.symbols import Symbol, Symbols
from cvtrainer.core.tree import Path

VOCABULARY = "cvtrainer.data.transforms.vocabulary"
LOADER = "cvtrainer.data.stream:LoaderOptions"
RESULTS = "cvtrainer.data.transforms.results.vocabulary"
BACKENDS = {
    "albumentations": "albumentations",
    "torchvision": "torchvision.transforms.v2",
    "results": RESULTS,
    "engine": RESULTS,
}


def known_to_backend(symbols: Symbols, backend: Any, name: str) -> bool:
    """Whether a transform's bare name is one of the back end's own."""
    own = BACKENDS.get(str(backend).lower())
    modules = (own,) if own in (None, RESULTS) else (VOCABULARY, own)
    return any(
        isinstance(symbols.target(f"{module}:{name}").found, Symbol) for module in modules if module
    )


def check_data(found: Findings, signatures: Signatures, resolver: Resolver) -> None:
    """Every split of every stage."""
    for index, stage in enumerate(found.data["stages"]):
        for split, block in stage["dataloader"].items():
            path: Path = ("stages", index, "dataloader", split)
            if not isinstance(block, dict):
                continue
            if isinstance(block.get("transforms"), dict):
                _transforms(found, signatures, (*path, "transforms"))
            if "dataloader_args" in block:
                _loader(found, signatures, resolver, (*path, "dataloader_args"))
    for path in found.nodes:
        node = found.get(path)
        if node["type"].endswith(":ImageTensorizer") and "normalize" in node["kwargs"]:
            _normalise(found, (*path, "kwargs", "normalize"), node["kwargs"]["normalize"])


def _transforms(found: Findings, signatures: Signatures, path: Path) -> None:
    backend = found.get(path)["backend"]
    if not isinstance(backend, str):
        return
    if backend not in BACKENDS:
        what = f"there is no back end {backend!r}; known are {', '.join(BACKENDS)}"
        found.wrong_value((*path, "backend"), what, closest(backend, BACKENDS))
        return
    for place, kind in found.nodes.items():
        node = found.get(place) if place[: len(path)] == path else None
        if node is None or kind != "transform" or ":" in node["type"]:
            continue
        if not found.told((*place, "type")):
            _transform(found, signatures, place, backend)


def _transform(found: Findings, signatures: Signatures, path: Path, backend: str) -> None:
    name = found.get(path)["type"]
    symbols = signatures.symbols
    own = BACKENDS[backend]
    modules = (own,) if own == RESULTS else (VOCABULARY, own)
    for module in modules:
        target = symbols.target(f"{module}:{name}")
        if isinstance(target.found, Symbol):
            info = signatures.read(f"{module}:{name}")
            if info is not None:
                check_arguments(found, (*path, "kwargs"), info)
            return
    if symbols.module(own)[0] is None:
        found.note(path, f"{backend} is not installed, so {name} cannot be checked")
        return
    what = f"there is no transform {name!r} for {backend}"
    for other, places in BACKENDS.items():
        if isinstance(symbols.target(f"{places[-1]}:{name}").found, Symbol):
            found.wrong_value((*path, "type"), f"{what}; it exists in {other}")
            return
    near = closest(name, *(_names(symbols, module) for module in modules))
    found.wrong_value((*path, "type"), what, near)


def _names(symbols: Symbols, dotted: str) -> list[str]:
    module, rest = symbols.module(dotted)
    if module is None or rest:
        return []
    return [name for name in symbols.known_names(module) if name[:1].isupper()]


def _loader(found: Findings, signatures: Signatures, resolver: Resolver, path: Path) -> None:
    info = signatures.read(LOADER)
    arguments = found.get(path)
    collate = arguments.get("collate_fn")
    if isinstance(collate, str):
        resolved = resolver.resolve(collate, "collate")
        if resolved.target is None:
            place = (*path, "collate_fn")
            found.wrong_value(place, resolved.what, resolved.suggestion)
        else:
            arguments["collate_fn"] = resolved.target
    if info is not None:
        check_arguments(found, path, info)
    for word, least in (("batch_size", 1), ("num_workers", 0)):
        value = arguments.get(word)
        if isinstance(value, int) and not isinstance(value, bool) and value < least:
            found.wrong_value((*path, word), f"must be {least} or more, not {value}")


def _normalise(found: Findings, path: Path, value: Any) -> None:
    if isinstance(value, str) and value.lower() != "imagenet":
        what = f"there is no normalisation {value!r}; write imagenet, {{mean, std}} or null"
        found.wrong_value(path, what, closest(value, ["imagenet"]))
    if not isinstance(value, dict):
        return
    for word in value:
        if word not in ("mean", "std"):
            found.wrong_key((*path, word), "unknown key", closest(word, ["mean", "std"]))
    for word in ("mean", "std"):
        if word not in value:
            found.missing(path, word, f"normalize needs `{word}`")
            continue
        numbers = value[word] if isinstance(value[word], list) else [value[word]]
        if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
            found.wrong_value((*path, word), "must be a list of numbers")
        elif any(abs(number) > 1 for number in numbers):
            what = f"the {word} is in the scale 0-255, but pixels are scaled to 0-1; divide by 255"
            found.wrong_value((*path, word), what)
