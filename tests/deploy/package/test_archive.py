"""A package is read whole or refused, and says what is wrong with it."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import InputSpec, Pad, Resize
from cvtrainer.deploy.contract import Port
from cvtrainer.deploy.package import archive
from cvtrainer.deploy.package.archive import is_package, open_archive
from cvtrainer.deploy.package.contents import CARD, NEEDED, Contents
from tests.deploy.package.made import ARTEFACT, PROOF, sources, write

SIZED = (Resize(size=(8, 8)),)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write(tmp_path / "model.cvt")


def test_any_zip_program_reads_it_and_twice_the_same_is_the_same(
    package: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(package) as zipped:
        assert zipped.testzip() is None
        assert zipped.namelist() == ["manifest.json", *sources()]
        assert zipped.read(CARD) == open_archive(package).read(CARD)
    assert write(tmp_path / "again.cvt").read_bytes() == package.read_bytes()
    assert list(Contents.of(package).contracts) == [ARTEFACT]
    assert not any(name.endswith((".pkl", ".pt", ".pth")) for name in zipped.namelist())


def test_no_byte_can_change_unseen(package: Path) -> None:
    """200 anywhere, and every byte of all headers, of the manifest's edges and of the end."""
    whole = package.read_bytes()
    draw = random.Random(6)
    places = {draw.randrange(len(whole)) for _ in range(200)}
    begins = [at for at in range(len(whole)) if whole[at : at + 4] in (b"PK\3\4", b"PK\1\2")]
    for at in begins:
        places |= set(range(at, at + 76))
    places |= set(range(len(whole) - 150, len(whole)))
    assert len(begins) == 2 * (len(sources()) + 1)
    for place in sorted(places):
        damaged = bytearray(whole)
        damaged[place] ^= draw.randrange(1, 256)
        package.write_bytes(damaged)
        with pytest.raises(UserError, match=r"model\.cvt: (the package is refused: |a package of)"):
            open_archive(package)
    package.write_bytes(whole)
    open_archive(package)


@pytest.mark.parametrize("change", [0, 1, -1, "front", "end", "half"])
def test_what_is_cut_off_or_longer_is_refused(package: Path, change: Any) -> None:
    whole = package.read_bytes()
    texts = {0: b"", 1: whole[1:], -1: whole[:-1], "front": b"x" + whole, "end": whole + b"\0"}
    package.write_bytes(texts.get(change, whole[: len(whole) // 2]))
    with pytest.raises(UserError, match="the package is refused"):
        open_archive(package)


def test_a_damaged_part_is_named(package: Path) -> None:
    whole = bytearray(package.read_bytes())
    whole[whole.index(b"# colours") + 3] ^= 1
    package.write_bytes(whole)
    with pytest.raises(UserError, match=r"refused: card\.md is damaged"):
        open_archive(package)


@pytest.mark.parametrize("name", [*NEEDED, ARTEFACT, f"{ARTEFACT}.contract.json"])
def test_a_missing_part_is_named(tmp_path: Path, name: str) -> None:
    parts = sources()
    del parts[name]
    with pytest.raises(UserError, match=f"it lacks {name}$"):
        Contents.of(write(tmp_path / "model.cvt", parts))


def test_a_part_that_is_not_known_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a part setup\.py, which is not known"):
        Contents.of(write(tmp_path / "model.cvt", {**sources(), "setup.py": b""}))


@pytest.mark.parametrize(
    "name",
    ["../out.md", "/etc/out.md", "a/../../out.md", "C:/out.md", "a\\out.md", "a//b", ".", ""],
)
def test_a_path_that_climbs_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is no name for a part"):
        write(tmp_path / "ours.cvt", {**sources(), name: b""})
    with pytest.raises(UserError, match="is no name for a part"):
        open_archive(forged(tmp_path, {"parts": [part(name=name)]}))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model.cvt"]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"parts": [{"name": "a", "size": 1 << 40}]}, "tells of a part as"),
        ({"parts": "many"}, "no list of parts"),
        ({"parts": [{}] * 2000}, "too long"),
        ({"format": 9, "parts": []}, "a package of format 9; this version reads 1"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(
    tmp_path: Path, told: dict[str, Any], why: str
) -> None:
    with pytest.raises(UserError, match=why):
        open_archive(forged(tmp_path, told))


@pytest.mark.parametrize("size", [1 << 40, -1, 1.5, True, "1"])
def test_sizes_that_cannot_be_are_refused_before_anything_is_read(
    tmp_path: Path, size: Any
) -> None:
    with pytest.raises(UserError, match="a would have"):
        open_archive(forged(tmp_path, {"parts": [part(size=size)]}))


def test_a_size_of_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"it has 4.. bytes instead of"):
        open_archive(forged(tmp_path, {"parts": [part(size=1 << 31)]}))
    with pytest.raises(UserError, match="is there twice"):
        open_archive(forged(tmp_path, {"parts": [part(), part(name="A")]}))


def test_a_manifest_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = forged(tmp_path, {"parts": []}, length=99_999_999)
    with pytest.raises(UserError, match="manifest would have 99999999 bytes"):
        open_archive(path)


def test_another_format_says_which(tmp_path: Path) -> None:
    whole = write(tmp_path / "model.cvt").read_bytes()
    path = tmp_path / "newer.cvt"
    path.write_bytes(whole.replace(b"cvtrainer package 0001", b"cvtrainer package 0002"))
    with pytest.raises(UserError, match="a package of format 2; this version reads 1"):
        open_archive(path)


@pytest.mark.parametrize("proof", [{}, {**PROOF, "proven": False}, {**PROOF, "samples": 0}])
def test_what_is_not_proven_is_refused(tmp_path: Path, proof: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="is not proven"):
        Contents.of(write(tmp_path / "model.cvt", sources(proof=proof)))


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": InputSpec(steps=(Resize(size=(1 << 40, 8)), Resize(size=(8, 8))))},
        {"spec": InputSpec(steps=(Pad(sides=(0, 1 << 40, 0, 0)), Resize(size=(8, 8))))},
        {"spec": InputSpec(steps=(Resize(size=(8, 9)),))},
        {"spec": InputSpec(steps=(Resize(shorter=8),))},
        {"input": Port("x", "float32", (None, 3, 8))},
        {"input": Port("x", "float32", (None, 3, 8, None))},
        {"input": Port("x", "float32", (0, 3, 8, 8))},
        {"spec": InputSpec(steps=SIZED, max_pixels=0)},
        {"spec": InputSpec(steps=SIZED, max_pixels=None)},  # type: ignore[arg-type]
        {"spec": InputSpec(steps=SIZED, mean=(0.0,) * 3, std=(0.0,) * 3)},
        {"spec": InputSpec(steps=SIZED, mean=(float("nan"),) * 3, std=(1.0,) * 3)},
    ],
)
def test_a_contract_that_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"contract\.json tells of inputs that cannot be"):
        Contents.of(write(tmp_path / "model.cvt", sources(**changes)))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"outputs": ()}, "tells of outputs or classes that cannot be"),
        ({"outputs": (Port("output", "float32", (None, 3)),) * 2}, "outputs or classes"),
        ({"classes": ("red", 2, "blue")}, "outputs or classes"),
        ({"operating": {"temperature": 1.0, "thresholds": [0.5]}}, "has 1 thresholds for more"),
        ({"reading": {"type": "classification", "kwargs": {"output": [1]}}}, "is no name"),
    ],
)
def test_answers_that_cannot_be_are_refused(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(UserError, match=why):
        Contents.of(write(tmp_path / "model.cvt", sources(**changes)))


def test_a_part_within_a_part_is_refused(tmp_path: Path) -> None:
    parts = {**sources(), f"{ARTEFACT.upper()}/more": b""}
    with pytest.raises(UserError, match="ONNX/more would be in a part"):
        open_archive(write(tmp_path / "model.cvt", parts))


@pytest.mark.parametrize("text", [b"[]", b"{", b'{"format": 1}', b'{"format": 1, "spec": []}'])
def test_a_contract_that_is_none_is_refused(tmp_path: Path, text: bytes) -> None:
    parts = {**sources(), f"{ARTEFACT}.contract.json": text}
    with pytest.raises(UserError, match=r"is no (contract|JSON)|lacks, adds or changes a word"):
        Contents.of(write(tmp_path / "model.cvt", parts))


def test_artefacts_are_named_and_not_by_their_marks(tmp_path: Path) -> None:
    path = tmp_path / "model.cvt"
    for artefacts, why in (
        ([], "it has no artefact"),
        (None, "does not say which artefacts"),
        ([f"{ARTEFACT}.unproven"], "is not proven"),
    ):
        with pytest.raises(UserError, match=why):
            Contents.of(write(path, artefacts=artefacts))


def test_a_package_is_known_by_its_name_or_its_beginning(package: Path, tmp_path: Path) -> None:
    other = package.rename(tmp_path / "model.zip")
    assert is_package(other)
    assert is_package("not/there.cvt")
    assert not is_package(tmp_path)
    plain = tmp_path / "other.zip"
    with zipfile.ZipFile(plain, "w") as zipped:
        zipped.writestr("data.txt", "x")
    assert not is_package(plain)
    with pytest.raises(UserError, match="no such file"):
        open_archive(Path("not/there.cvt"))


def part(**changes: Any) -> dict[str, Any]:
    return {"name": "a", "size": 0, "crc32": 0, "sha256": "0" * 64, **changes}


def forged(folder: Path, told: dict[str, Any], length: int | None = None) -> Path:
    """A package whose checksums are right and whose manifest says anything."""
    text = archive._manifest_text({"format": 1, **told})
    one = archive._measured("manifest.json", text)
    whole = archive._local(one) + text + archive._directory([one])
    if length is not None:
        whole = whole.replace(b"%08d bytes" % len(text), b"%08d bytes" % length)
    path = folder / "model.cvt"
    path.write_bytes(whole)
    return path


def test_the_forged_one_is_as_a_real_one(tmp_path: Path) -> None:
    assert open_archive(forged(tmp_path, {"parts": []})).told == {"format": 1, "parts": []}
