"""A packaged model predicts, with nothing but numpy, Pillow and ONNX Runtime."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.errors import BadSample, UserError
from cvtrainer.core.input_spec import CenterCrop, InputSpec, Pad, PadTo, Resize
from cvtrainer.deploy.contract import Port
from cvtrainer.deploy.runtime.runner import RUN_BY
from tests.deploy.package.made import ARTEFACT, CLASSES, sources, write

COLOURS = {"red": (200, 10, 10), "green": (10, 200, 10), "blue": (10, 10, 200)}
BLOCKED = (
    "torch",
    "torchvision",
    "timm",
    "albumentations",
    "cv2",
    "simplejpeg",
    "safetensors",
    "yaml",
    "pyarrow",
    "rich",
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write(tmp_path / "model.cvt")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A picture of each colour; the second is a JPEG, the third is grey no more than blue."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, (name, colour) in enumerate(COLOURS.items()):
        ending = "jpg" if number == 1 else "png"
        Image.new("RGB", (20 + number, 15), colour).save(folder / f"{number}_{name}.{ending}")
    return folder


def test_pictures_in_every_form(package: Path, photos: Path) -> None:
    model = cvtrainer.load(package, artefact="fp32")
    told = model.predict(photos)
    assert [one["class"] for one in told] == list(CLASSES)
    assert [Path(one["file"]).name for one in told] == sorted(one.name for one in photos.iterdir())
    assert len(told[0]["top"]) == 2
    pixels = np.zeros((2, 9, 30, 3), np.uint8)
    pixels[0, ..., 1], pixels[1, ..., 2] = 255, 255
    given = [pixels, Image.fromarray(pixels[1]), str(photos / "*.jpg"), np.ones((3, 8, 8), "f4")]
    answers = model.predict(given, arrays=True, batch_size=2)
    assert [one["class"] for one in answers[:-1]] == ["green", "blue", "blue", "green"]
    np.testing.assert_allclose(answers[-1]["outputs"]["output"], [10, 10, 10])
    assert [one["file"] for one in answers[:2]] == ["[0][0]", "[0][1]"]
    assert model.classes == list(CLASSES)
    assert model.input_spec.size == (8, 8)
    assert model.card.startswith("# colours")
    assert set(model.metrics["artefacts"]) == {ARTEFACT}


def test_what_cannot_be_read_is_said_and_passed_over(package: Path, photos: Path) -> None:
    model = cvtrainer.load(package, artefact=None)
    (photos / "0_bad.png").write_bytes(b"no picture")
    wrong = [photos, np.ones((3, 9, 9), "f4"), np.ones((2, 2, 2, 2, 2), np.uint8)]
    wrong += [np.full((3, 8, 8), np.nan, "f4"), np.ones((0, 0, 3), np.uint8)]
    errors = [answer.error for answer in model.answers(wrong)]
    assert [error is None for error in errors] == [False, True, True, True, *[False] * 4]
    assert "the network takes [3, 8, 8], and this is [3, 9, 9]" in str(errors[4])
    with pytest.raises(BadSample, match="0_bad"):
        model.predict(photos)
    for given, why in ((3, "nothing can be predicted of a int"), ("none/*.png", "no file fits")):
        with pytest.raises(UserError, match=why):
            model.predict(given)


def test_an_array_file_that_holds_no_array_is_passed_over(package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "arrays"
    folder.mkdir()
    (folder / "0_empty.npy").write_bytes(b"")
    with (folder / "1_huge.npy").open("wb") as file:
        told = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 3, 8, 8)}
        np.lib.format.write_array_header_1_0(file, told)
        file.write(b"few")
    np.savez(folder / "several.npz", np.ones(3))
    (folder / "several.npz").rename(folder / "2_several.npy")
    np.save(folder / "3_clear.npy", np.zeros((9, 9, 4), np.uint8))
    np.save(folder / "4_good.npy", np.ones((3, 8, 8), "f4"))
    errors = [answer.error for answer in cvtrainer.load(package).answers(folder)]
    assert [error is None for error in errors] == [False] * 4 + [True]
    assert errors[1:4] == [
        "no array can be read: mmap length is greater than file size",
        "an archive of arrays, not an array",
        "[9, 9, 4] uint8 is no picture. Give bytes, of one channel or three.",
    ]


def test_the_artefact_is_asked_for_by_name_or_precision(package: Path) -> None:
    assert cvtrainer.load(package, artefact="model-fp32.onnx").artefact == ARTEFACT
    with pytest.raises(UserError, match=r"no artefact 'int8' runs here.*model-fp32\.onnx"):
        cvtrainer.load(package, artefact="int8")


def test_the_verb_predicts_and_says_what_a_package_cannot(
    package: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(package), str(photos), "--batch_size", "1"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["class"] for one in lines] == list(CLASSES)
    out = photos.parent / "out"
    assert main(["predict", str(package), str(photos), "--out", str(out)]) == 0
    assert (out / "predictions.csv").read_text().count("\n") == 4
    assert main(["predict", str(package), str(photos), "--out", str(out), "--draw"]) == 0
    assert len(list((out / "pictures").glob("*.png"))) == 3
    assert main(["predict", str(package), "--make", "2"]) == 2
    assert "--make needs a run, not a package" in capsys.readouterr().err
    assert main(["predict", str(package)]) == 2
    assert "of which inputs?" in capsys.readouterr().err


def test_nothing_but_numpy_pillow_and_the_runtime_is_imported(package: Path, photos: Path) -> None:
    """The same call and verb where the other packages cannot be imported."""
    code = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
import cvtrainer
from cvtrainer.cli import main
told = cvtrainer.load({str(package)!r}).predict({str(photos)!r})
print([one["class"] for one in told])
assert main(["predict", {str(package)!r}, {str(photos)!r}, "--csv", {str(package) + ".csv"!r}]) == 0
print(sorted(set({BLOCKED!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(list(CLASSES))
    assert done.stdout.splitlines()[-1] == "[]"


def test_places_are_in_the_pixels_of_the_file(tmp_path: Path) -> None:
    """A heat map's highest spot, through borders, a crop and a resize."""
    steps = (
        Pad(sides=(2, 0, 0, 0)),
        PadTo(size=(20, 26)),
        CenterCrop(size=(16, 16)),
        Resize(size=(8, 8), shrink="area"),
    )
    reading = {"type": "keypoints", "kwargs": {"stride": 1, "names": ["r", "g", "b"]}}
    parts = sources(
        spec=InputSpec(steps=steps),
        reading=reading,
        outputs=(Port("output", "float32", (None, 3, 8, 8)),),
        classes=None,
    )
    parts[ARTEFACT] = _same()
    model = cvtrainer.load(write(tmp_path / "model.cvt", parts), artefact=None)
    picture = np.zeros((20, 22, 3), np.uint8)
    picture[8:10, 10:12] = 255
    (told,) = model.predict(picture)
    assert told["keypoints"]["r"]["x"] == pytest.approx(11, abs=1)
    assert told["keypoints"]["r"]["y"] == pytest.approx(9, abs=1)
    parts = sources(
        spec=InputSpec(steps=steps),
        reading={"type": "several", "kwargs": {"readings": {"pose": reading}}},
        outputs=(Port("output", "float32", (None, 3, 8, 8)),),
        classes=None,
    )
    parts[ARTEFACT] = _same()
    several = cvtrainer.load(write(tmp_path / "several.cvt", parts), artefact=None)
    (answer,) = several.answers(picture)
    assert answer.told["pose"]["keypoints"] == told["keypoints"]
    assert answer.below == (("pose",),)


def _same() -> bytes:
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    y = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 3, 8, 8])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["output"])], "same", [x], [y])
    opset = helper.make_opsetid("", 18)
    made: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()
    return made


def test_of_several_artefacts_one_that_is_installed_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = sources(target="openvino")
    other = ARTEFACT.replace("fp32", "other")
    own = sources()
    parts |= {other: own[ARTEFACT]}
    parts |= {f"{other}.contract.json": own[f"{ARTEFACT}.contract.json"]}
    package = write(tmp_path / "two.cvt", parts, artefacts=[ARTEFACT, other])
    monkeypatch.setitem(RUN_BY, "openvino", ("no_such_module",))
    assert cvtrainer.load(package).artefact == other
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match=rf"two.cvt: {ARTEFACT}: running OpenVINO files needs"):
        cvtrainer.load(package, artefact="openvino")


def test_machine_code_of_a_package_is_opened_only_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = sources()
    code = {**sources(target="torch"), ARTEFACT: b"library"}
    with pytest.raises(UserError, match="is machine code, which runs when it is opened"):
        cvtrainer.load(write(tmp_path / "code.cvt", code))
    other = ARTEFACT.replace("fp32", "other")
    code |= {other: own[ARTEFACT], f"{other}.contract.json": own[f"{ARTEFACT}.contract.json"]}
    package = write(tmp_path / "two.cvt", code, artefacts=[ARTEFACT, other])
    assert cvtrainer.load(package).artefact == other
    assert main(["bench", str(package), "--runs", "1"]) == 0
    told = capsys.readouterr()
    assert "two.cvt:model-fp32.onnx is machine code" in told.out
    with pytest.raises(UserError, match="torch cannot open it"):
        cvtrainer.load(package, artefact="torch")


def test_what_a_runtime_refuses_is_told_by_the_package_s_own_name(tmp_path: Path) -> None:
    package = write(tmp_path / "bad.cvt", {**sources(), ARTEFACT: b"no network"})
    with pytest.raises(UserError, match=rf"^\S+bad.cvt: {ARTEFACT}: ONNX Runtime ") as told:
        cvtrainer.load(package)
    assert "cvtrainer-" not in str(told.value)
