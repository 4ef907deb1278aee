"""The package of an export: its artefacts and what belongs to them, in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cvtrainer import __version__
from cvtrainer.core.compile import compile_config
from cvtrainer.core.run_folder import config_text
from cvtrainer.deploy.artefact import files_of, size_of
from cvtrainer.deploy.contract import Contract, contract_file, read_contract
from cvtrainer.deploy.package.archive import Source, write_archive
from cvtrainer.deploy.package.card import card_text
from cvtrainer.deploy.package.contents import CARD, CONFIG, FOLDER, LABELS, METRICS, WEIGHTS
from cvtrainer.jobs.load import Trained


def write_package(path: Path, artefacts: Sequence[Path], trained: Trained, config: Path) -> None:
    """Of artefacts that are proven, in their order."""
    contracts: dict[str, Contract] = {}
    sizes: dict[str, int] = {}
    files: dict[str, Source] = {}
    for artefact in artefacts:
        name = f"{FOLDER}/{artefact.name}"
        contracts[name] = read_contract(artefact)
        sizes[name] = size_of(artefact)
        files |= {f"{name}{rest}": file for rest, file in files_of(artefact).items()}
        beside = contract_file(artefact)
        files[f"{FOLDER}/{beside.name}"] = beside
    network = trained.network
    title = config.stem if config.name != CONFIG else config.absolute().parent.name
    card = card_text(title, contracts, sizes, parameters=_parameters(network))
    proofs = {name: dict(one.proof) for name, one in contracts.items()}
    resolved = compile_config(config, purpose="eval").resolved
    sources: dict[str, Source] = {
        CARD: card.encode(),
        LABELS: _json({"classes": trained.classes}),
        METRICS: _json({"artefacts": proofs}),
        CONFIG: config_text(resolved).encode(),
        WEIGHTS: _weights(network),
        **files,
    }
    write_archive(path, sources, {"cvtrainer": __version__, "artefacts": list(contracts)})


def _weights(network: nn.Module) -> bytes:
    from safetensors.torch import save

    state: Mapping[str, Any] = network.state_dict()
    tensors = {
        name: value.detach().cpu().clone().contiguous()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }
    made: bytes = save(tensors)
    return made


def _parameters(network: nn.Module) -> int:
    return sum(one.numel() for one in network.parameters())


def _json(value: Any) -> bytes:
    return f"{json.dumps(value, indent=2, ensure_ascii=False)}\n".encode()
