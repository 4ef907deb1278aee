"""Whether a picture means the same to all: to the run, to its package, to each target's graph.

    python -m benchmarks.deploy.odd_images FOLDER [--target NAMES] [--input KIND]

A small classifier is trained on drawn pictures and exported; then every file below the folder is
asked about, by checkpoint, by package and by each artefact alone, from the file's own bytes. What
cannot be read must be refused by all of them. Exit code 1: somebody says something else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cvtrainer
from cvtrainer.core.errors import BadSample
from cvtrainer.deploy.artefact import files_of
from cvtrainer.deploy.contract import read_contract
from cvtrainer.deploy.package.inputs import Given
from cvtrainer.deploy.runtime.decoded import Decoded
from cvtrainer.deploy.runtime.runner import can_run, outputs_of, runner_of
from cvtrainer.deploy.targets.target import TARGETS
from cvtrainer.jobs.export import Form, Wanted, export
from cvtrainer.pictures.prepare import handed
from cvtrainer.telling.kinds import telling_of

CONFIG = """
seed: 0
device: cpu
dir: {folder}/run
stages:
  - name: train
    epochs: {epochs}
    task: {{type: classification, top: 3}}
    model:
      type: base_model
      backbone: {{type: edge_net, width: 0.5, depth: 0.5}}
      head: {{type: multiclass, num_classes: 6}}
    criterion: CrossEntropyLoss
    optimizer: {{type: AdamW, lr: 0.005}}
    dataloader:
      train:
        dataset: {{type: picture_world, count: {count}, size: 40, look: calm}}
        tensorizer: {{type: tensorizer, mapping: {{x: image, class_id: index}}}}
        dataloader_args: {{batch_size: 32, shuffle: true}}
      val:
        dataset: {{type: picture_world, split: val, count: 60, size: 40, look: calm}}
        transforms:
          backend: Torchvision
          transforms: [{{type: Resize, height: 40, width: 40}}]
        tensorizer: {{type: tensorizer, mapping: {{x: image, class_id: index}}}}
        dataloader_args: {{batch_size: 32}}
    hooks: [{{type: checkpoint, save_freq: 1}}]
    meters: [loss, accuracy]
"""
REFUSED = "refused"

Asked = Callable[[Path], str]
"""What somebody says of a file: a class, or that it is refused."""


def trained(folder: Path, *, epochs: int = 6, count: int = 600) -> Path:
    """The run of a small classifier."""
    config = folder / "train.yaml"
    config.write_text(CONFIG.format(folder=folder.as_posix(), epochs=epochs, count=count))
    return cvtrainer.train(config).run


def exported(run: Path, targets: Sequence[str], takes: str) -> tuple[list[Path], Path]:
    """Artefacts of all targets, and the package."""
    package = run / "artifacts" / "model.cvt"
    wanted = Wanted(targets, package=package, form=Form(takes))
    done = export(run, wanted, say=lambda text: print(text, file=sys.stderr))
    for one in done:
        for failure in one.failures:
            print(f"not proven, {one.path}: {failure}", file=sys.stderr)
    return [one.path for one in done if one.proven], package


def by_run(run: Path) -> Asked:
    """The trained model, as `cvtrainer predict --run` asks it."""
    return _by(cvtrainer.load(run))


def by_package(package: Path) -> Asked:
    """The package, as `cvtrainer predict model.cvt` asks it."""
    return _by(cvtrainer.load(package))


def by_graph(artefact: Path) -> Asked:
    """An artefact with nothing but its contract."""
    contract = read_contract(artefact)
    telling = telling_of(contract.reading, artefact.name)
    runner = Decoded(runner_of(artefact, contract), telling)

    def asked(file: Path) -> str:
        try:
            picture = Given(str(file), file).picture(contract.spec)
        except BadSample:
            return REFUSED
        outputs = outputs_of(runner, [handed(picture, contract.spec, contract.takes)])
        return str(telling.describe(outputs, 0, contract.classes)["class"])

    return asked


def _by(model: Any) -> Asked:
    def asked(file: Path) -> str:
        (answer,) = model.answers([str(file)])
        return REFUSED if answer.error is not None else str(answer.told["class"])

    return asked


def compared(
    files: Sequence[Path], asked: Mapping[str, Asked]
) -> Iterator[tuple[Path, dict[str, str]]]:
    """Each file with what each of them says."""
    for file in files:
        yield file, {name: one(file) for name, one in asked.items()}


def everybody(run: Path, artefacts: Sequence[Path], package: Path) -> dict[str, Asked]:
    """All who are asked."""
    graphs = {read_contract(one).target: by_graph(one) for one in artefacts}
    return {"checkpoint": by_run(run), "package": by_package(package), **graphs}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", help="with commas; by default all that run here")
    parser.add_argument("--input", default="float", help="float, uint8 or picture")
    args = parser.parse_args()
    targets = args.target.split(",") if args.target else [one for one in TARGETS if can_run(one)]
    files = list(files_of(args.folder).values())
    away = refused = 0
    with TemporaryDirectory() as place:
        run = trained(Path(place))
        artefacts, package = exported(run, targets, args.input)
        asked = everybody(run, artefacts, package)
        missing = len(targets) - len(artefacts)
        print("\t".join(["file", *asked]))
        for file, told in compared(files, asked):
            differs = len(set(told.values())) > 1
            away += differs
            refused += set(told.values()) == {REFUSED}
            name = file.relative_to(args.folder).as_posix()
            print("\t".join([name, *told.values()]) + ("\tDIFFERS" if differs else ""))
    print(f"{len(files)} files: {refused} refused by all, {away} told differently by somebody")
    if missing:
        print(f"{missing} of {len(targets)} artefacts are not proven", file=sys.stderr)
    return 1 if away or missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
