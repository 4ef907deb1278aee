"""The card of a package: what the model is, takes and gives, and how it was proven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from cvtrainer.core.array_spec import ArraySpec
from cvtrainer.core.input_spec import InputSpec, Resize
from cvtrainer.deploy.contract import Contract, Port
from cvtrainer.deploy.package.operating_card import operating_lines
from cvtrainer.deploy.runtime.runner import RUN_BY

_TOLD_CLASSES = 50


def card_text(
    name: str, contracts: Mapping[str, Contract], sizes: Mapping[str, int], *, parameters: int
) -> str:
    """Markdown; the first artefact speaks for input and classes."""
    first = next(iter(contracts.values()))
    arrays = isinstance(first.spec, ArraySpec)
    reading = str((first.reading or {}).get("type", "plain"))
    return "\n".join(
        [
            f"# {name}",
            "",
            f"A model for {reading.replace('_', ' ')} with {parameters:,} parameters.",
            "",
            "## Input",
            "",
            *_input(first),
            "",
            *_classes(first.classes),
            "## Artefacts",
            "",
            *_artefacts(contracts, sizes),
            "",
            "## Figures",
            "",
            "Of the trained model and of each artefact, on the evaluation split of training,",
            f"{'from its arrays' if arrays else 'from the bytes of its files'}.",
            "",
            *_figures(contracts),
            "",
            *operating_lines(contracts),
            "## Use",
            "",
            "```bash",
            f"cvtrainer predict model.cvt {'arrays' if arrays else 'photos'}",
            "```",
            "",
            "```python",
            "import cvtrainer",
            "",
            f'cvtrainer.load("model.cvt").predict("{"array.npy" if arrays else "photo.jpg"}")',
            "```",
            "",
            *_needed(contracts),
            "",
        ]
    )


def _needed(contracts: Mapping[str, Contract]) -> list[str]:
    """What must be installed to run each artefact."""
    lines = ["Needed are numpy, Pillow and", ""]
    for name, one in contracts.items():
        modules = RUN_BY.get(one.target, (one.target,))
        packages = ", ".join(f"`{module.replace('_', '-')}`" for module in modules)
        lines.append(f"- for `{PurePosixPath(name).name}`: {packages}")
    return lines


def _input(contract: Contract) -> list[str]:
    spec, port = contract.spec, contract.input
    if isinstance(spec, ArraySpec):
        return _arrays(spec, port)
    return _pictures(spec, port.shape, contract.takes)


def _arrays(spec: ArraySpec, port: Port) -> list[str]:
    first, *rest = port.shape
    lengths = ["N" if first is None else str(first)]
    lengths += ["any" if one is None else str(one) for one in rest]
    shape = " x ".join(map(str, spec.example))
    lines = [
        f"- `{spec.name}`: {' x '.join(lengths)}, {port.dtype}; one sample was {shape}",
        f"- {spec.words}",
    ]
    if spec.columns:
        lines.append(f"- of the columns {', '.join(f'`{one}`' for one in spec.columns)}")
    if spec.learnt:
        words = ", ".join(map(str, spec.learnt))
        lines.append(f"- what that learnt from the training set ({words}) is in the contract")
    return lines


def _pictures(spec: InputSpec, shape: Sequence[int | None], takes: str) -> list[str]:
    """The lines in the order of what happens; the graph's own part follows what it takes."""
    inside = {"float": "", "uint8": "; the numbers are made inside", "picture": "; all inside"}
    lines = [
        f"- `{spec.name}`: {' x '.join(str(one) if one else 'N' for one in shape)}, "
        f"{'RGB' if spec.channels == 3 else 'grey' if spec.channels == 1 else 'channels'}, "
        f"{'numbers' if takes == 'float' else 'bytes'}{inside.get(takes, '')}"
    ]
    for step in spec.steps:
        size = step.size if isinstance(step, Resize) and step.size else None
        size = size or getattr(step, "size", None)
        told = f" {size[0]} x {size[1]}" if size else ""
        if isinstance(step, Resize):
            side = step.shorter or step.longer
            told += f" {'shorter' if step.shorter else 'longer'} side {side}" if side else ""
            told += f", {step.kernel}"
        lines.append(f"- {step.kind.replace('_', ' ')}{told}")
    if spec.scaled:
        mean = f"; mean {list(spec.mean)}, deviation {list(spec.std)}" if spec.mean else ""
        lines.append(f"- bytes divided by 255{mean}")
    return lines


def _classes(classes: Sequence[str] | None) -> list[str]:
    if not classes:
        return []
    more = f" and {len(classes) - _TOLD_CLASSES} more" if len(classes) > _TOLD_CLASSES else ""
    named = ", ".join(f"`{one}`" for one in classes[:_TOLD_CLASSES])
    return ["## Classes", "", f"{len(classes)}: {named}{more}", ""]


def _artefacts(contracts: Mapping[str, Contract], sizes: Mapping[str, int]) -> list[str]:
    rows = ["| File | Target | Precision | Bytes |", "|---|---|---|---|"]
    return rows + [
        f"| `{name}` | {one.target} | {one.precision} | {sizes[name]:,} |"
        for name, one in contracts.items()
    ]


def _figures(contracts: Mapping[str, Contract]) -> list[str]:
    rows = ["| Artefact | Samples | Same decisions | Metric | Trained | Artefact |"]
    rows.append("|---|---|---|---|---|---|")
    for name, contract in contracts.items():
        proof = contract.proof
        head = f"| {PurePosixPath(name).name} | {proof['samples']} | {proof['agreement']:.4f} |"
        for metric, value in proof["trained"].items():
            rows.append(f"{head} {metric} | {value:.4f} | {proof['artefact'][metric]:.4f} |")
        if not proof["trained"]:
            rows.append(f"{head} | | |")
    return rows
