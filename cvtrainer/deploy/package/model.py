"""A packaged model that predicts: numpy, Pillow and the artefact's own runtime, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from cvtrainer.core.array_spec import ArraySpec
from cvtrainer.core.errors import BadSample, UserError
from cvtrainer.deploy.contract import Contract, Spec
from cvtrainer.deploy.package.arrays import ArrayInputs
from cvtrainer.deploy.package.contents import CARD, METRICS, Contents
from cvtrainer.deploy.package.inputs import Given, Inputs, PictureInputs
from cvtrainer.deploy.runtime.decoded import Decoded
from cvtrainer.deploy.runtime.runner import (
    MACHINE_CODE,
    RUNTIMES,
    Arrays,
    Runner,
    can_run,
    outputs_of,
    runner_of,
)
from cvtrainer.pictures.way_back import WayBack
from cvtrainer.telling.kinds import telling_of
from cvtrainer.telling.operating import operated
from cvtrainer.telling.reading import WHOLE, Paths


@dataclass
class Answer:
    """What the model says of one input; `error` says why it says nothing.

    `outputs` are the sample's arrays by name, places in them in the pixels of the file; `below`
    says where in `told` the tellings of single readings stand.
    """

    input: Given
    told: dict[str, Any] = field(default_factory=dict)
    outputs: Arrays = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None
    error: str | None = None
    pictures: Sequence[str] = ()
    below: Paths = WHOLE


class PackagedModel:
    """One artefact of a package, opened; `contract` says what it takes and gives."""

    def __init__(self, contents: Contents, artefact: str, *, threads: int = 1) -> None:
        archive = contents.archive
        self.contents = contents
        self.artefact = artefact
        self.contract: Contract = contents.contracts[artefact]
        where = f"{archive.path}: {artefact}"
        reading = telling_of(self.contract.reading, where)
        self._telling = operated(reading, self.contract.operating, where)
        with TemporaryDirectory(prefix="cvtrainer-") as folder:
            place = archive.write_below(artefact, Path(folder))
            runner = _runner(place, self.contract, where, threads)
        self._runner = Decoded(runner, self._telling)
        spec = self.contract.spec
        self._inputs: Inputs = (
            ArrayInputs(self.contract, spec)
            if isinstance(spec, ArraySpec)
            else PictureInputs(self.contract, spec, located=bool(self._telling.places))
        )

    @property
    def classes(self) -> list[str] | None:
        """Their names, in the order of training."""
        return None if self.contract.classes is None else list(self.contract.classes)

    @property
    def input_spec(self) -> Spec:
        """What becomes of a picture's file before the network, or who makes its arrays."""
        return self.contract.spec

    @property
    def takes_pictures(self) -> bool:
        """Whether its inputs can be looked at."""
        return self._inputs.pictures

    @property
    def card(self) -> str:
        """What the package says of itself, in Markdown."""
        return self.contents.text(CARD)

    @property
    def metrics(self) -> dict[str, Any]:
        """The proof of each artefact."""
        told: dict[str, Any] = self.contents.values(METRICS)
        return told

    def predict(
        self, inputs: Any, *, arrays: bool = False, batch_size: int = 32
    ) -> list[dict[str, Any]]:
        """What is read in the outputs, one mapping per input, in order.

        `inputs` is a path (file, folder, pattern), a PIL image, an array, or a list of these; for a
        network of no pictures, arrays and paths of `.npy` files. `arrays` adds `outputs`. An input
        that cannot be read is an error; `answers` passes over it.
        """
        found = []
        for answer in self.answers(inputs, batch_size=batch_size):
            if answer.error is not None:
                raise BadSample(answer.error, kind="unreadable", where=answer.input.name)
            told = {"file": answer.input.name, **answer.told}
            found.append({**told, "outputs": answer.outputs} if arrays else told)
        return found

    def answers(self, inputs: Any, *, batch_size: int = 32) -> Iterator[Answer]:
        """The same one after the other, with what could not be read among them."""
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}", todo="Give 1 or more.")
        every = self._inputs.given(inputs)
        while some := list(islice(every, batch_size)):
            yield from self._answered(some)

    def pixels(self, answer: Answer) -> NDArray[Any] | None:
        """The picture that an answer is about, as it is in its file; None where it is none."""
        spec = self.input_spec
        if answer.input.ready or isinstance(spec, ArraySpec):
            return None
        picture = answer.input.picture(spec)
        return picture if picture.ndim == 3 else picture[:, :, None]

    def _answered(self, some: Sequence[Given]) -> Iterator[Answer]:
        rows: list[NDArray[Any]] = []
        made: list[tuple[Given, WayBack | str | None]] = []
        for one in some:
            try:
                row, way = self._inputs.row(one)
            except BadSample as error:
                made.append((one, f"{error.what}. {error.todo}" if error.todo else error.what))
                continue
            rows.append(row)
            made.append((one, way))
        outputs = outputs_of(self._runner, rows) if rows else {}
        place = 0
        for one, found in made:
            if isinstance(found, str):
                yield Answer(one, error=found)
                continue
            yield self._read(one, found, {k: v[place : place + 1] for k, v in outputs.items()})
            place += 1

    def _read(self, one: Given, way: WayBack | None, outputs: Arrays) -> Answer:
        outputs = self._telling.shown(outputs)
        if way is not None:
            outputs = {**outputs, **way.carried(outputs, self._telling.places)}
        told = self._telling.describe(outputs, 0, self.classes)
        own = {name: value[0] for name, value in outputs.items()}
        return Answer(one, told, own, self._telling.places, below=self._telling.below)


def _runner(place: Path, contract: Contract, where: str, threads: int) -> Runner:
    try:
        return runner_of(place, contract, threads=threads)
    except UserError as error:  # it knows the file that was unpacked for it, which nobody else does
        what = error.what.replace(str(place), where)
        raise UserError(what, where=where, todo=error.todo) from error


def load_package(source: str | Path, *, artefact: str | None = None) -> PackagedModel:
    """The first artefact that runs here, or the one that is named or of that precision.

    Machine code is opened only where it is asked for: a package may be anybody's.
    """
    path = Path(source)
    contents = Contents.of(path)
    able = [name for name, one in contents.contracts.items() if one.target in RUNTIMES]
    wanted = [name for name in able if artefact in (None, *_calls(name, contents))]
    if artefact is None:
        code = [name for name in wanted if contents.contracts[name].target in MACHINE_CODE]
        wanted = [name for name in wanted if name not in code]
        if code and not wanted:
            raise UserError(
                f"{PurePosixPath(code[0]).name} is machine code, which runs when it is opened",
                where=str(path),
                todo="Where you trust who made it, name it: --artefact, or load(..., artefact=).",
            )
    if not wanted:
        there = ", ".join(PurePosixPath(name).name for name in able) or "none"
        raise UserError(
            f"no artefact {artefact!r} runs here" if artefact else "no artefact runs here",
            where=str(path),
            todo=f"Those that run are: {there}.",
        )
    ready = (name for name in wanted if can_run(contents.contracts[name].target))
    return PackagedModel(contents, next(ready, wanted[0]))


def _calls(name: str, contents: Contents) -> tuple[str, ...]:
    """What an artefact may be asked for as."""
    contract = contents.contracts[name]
    return name, PurePosixPath(name).name, contract.precision, contract.target
