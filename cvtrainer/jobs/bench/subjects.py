"""Which artefacts are meant: files and folders with a contract beside, and those of packages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.artefact import size_of
from cvtrainer.deploy.contract import SUFFIX, UNPROVEN, Contract, contract_file, read_contract
from cvtrainer.deploy.package.archive import package_of
from cvtrainer.deploy.package.contents import Contents
from cvtrainer.deploy.runtime.runner import MACHINE_CODE, can_run

_OF_A_RUN = "artifacts"


@dataclass(frozen=True)
class Subject:
    """An artefact on the disk under the name that it was asked for by."""

    name: str
    path: Path
    contract: Contract
    size: int
    """In bytes."""

    @property
    def proven(self) -> bool:
        return self.contract.proof.get("proven") is True


def subjects_of(word: str, scratch: Path) -> Iterator[Subject | str]:
    """Every artefact that a word means, or why one is passed over; packages open in `scratch`.

    `model.cvt:int8` is one of a package, by its name, precision or target.
    """
    package, asked = package_of(word)
    if package is not None:
        yield from _of_package(package, asked, scratch)
        return
    path = Path(word)
    if contract_file(path).is_file():
        if not path.exists():
            raise UserError("no such artefact", where=word)
        yield _subject(path)
        return
    if not path.exists():
        raise UserError("no such file or folder", where=word)
    beside = sorted(path.glob(f"*{SUFFIX}")) or sorted((path / _OF_A_RUN).glob(f"*{SUFFIX}"))
    if not beside:
        raise UserError(
            "no contract is beside it, and none in it",
            where=word,
            todo="Give what cvtrainer export wrote: an artefact, its folder, or a package.",
        )
    for contract in beside:
        proven = contract.with_name(contract.name.removesuffix(SUFFIX))
        found = proven if proven.exists() else proven.with_name(proven.name + UNPROVEN)
        if found.exists():
            yield _able(_subject(found))


def _subject(path: Path) -> Subject:
    return Subject(path.as_posix(), path, read_contract(path), size_of(path))


def _of_package(package: Path, asked: str | None, scratch: Path) -> Iterator[Subject | str]:
    contents = Contents.of(package)
    folder = scratch / str(len(list(scratch.iterdir())))
    found = 0
    for name, contract in contents.contracts.items():
        short = PurePosixPath(name).name
        if asked not in (None, name, short, contract.precision, contract.target):
            continue
        found += 1
        if asked is None and contract.target in MACHINE_CODE:
            word = f"{package.as_posix()}:{short}"
            yield f"{word} is machine code, which runs when it is opened; left out until named"
            continue
        folder.mkdir(exist_ok=True)
        place = contents.archive.write_below(name, folder)
        subject = Subject(f"{package.as_posix()}:{short}", place, contract, size_of(place))
        yield subject if asked else _able(subject)
    if not found:
        there = ", ".join(PurePosixPath(name).name for name in contents.contracts)
        raise UserError(
            f"no artefact {asked!r} is in it", where=str(package), todo=f"There is {there}."
        )


def _able(subject: Subject) -> Subject | str:
    """Of several, those that run here."""
    if can_run(subject.contract.target):
        return subject
    return f"{subject.name}: artefacts of {subject.contract.target} do not run here; left out"
