"""Many files become one tree, and every value still knows where it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cvtrainer.core.compose import compose
from cvtrainer.core.errors import ConfigErrors
from cvtrainer.core.load import load_file
from cvtrainer.core.tree import Tree

COMMON = """
aug_light:
  backend: Albumentations
  transforms:
    - type: Resize
      kwargs: {height: 8, width: 8}
aug_medium:
  backend: Albumentations
  options: {seed: 1, deep: {a: 1, b: 2}}
  transforms:
    - type: Resize
      kwargs: {height: 256, width: 256}
    - type: HorizontalFlip
image:
  type: cvtrainer.data.tensorizer.ImageTensorizer
  kwargs: {normalize: imagenet, dtype: float}
names: [cat, dog]
bare: cvtrainer.hooks.EMAHook
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def composed(path: Path) -> Tree:
    return compose(load_file(path), path)


def compose_text(folder: Path, text: str) -> Any:
    write(folder, "common/t.yaml", COMMON)
    return composed(write(folder, "apps/x/train.yaml", text)).data


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        composed(path)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.seed("S0-58")
@pytest.mark.parametrize("form", ['"!include {}"', "!include {}", "!include '{}'"])
def test_whole_file_quoted_and_as_a_tag(tmp_path: Path, form: str) -> None:
    data = compose_text(tmp_path, f"t: {form.format('../../common/t.yaml')}\n")
    assert data["t"]["names"] == ["cat", "dog"]


@pytest.mark.seed("S0-59")
def test_one_key_of_a_file(tmp_path: Path) -> None:
    text = """
t: !include ../../common/t.yaml::aug_light
h: !include ../../common/t.yaml::aug_light.transforms.resize.kwargs.height
"""
    data = compose_text(tmp_path, text)
    assert set(data["t"]) == {"backend", "transforms"}
    assert data["h"] == 8


@pytest.mark.seed("S0-59")
def test_missing_key_and_missing_file_name_both_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "common/t.yaml", COMMON)
    text = "a: !include ../../common/t.yaml::aug_mediun\nb:\n  - '!include ../../common/tt.yaml'\n"
    first, second = problems(write(tmp_path, "apps/x/train.yaml", text).relative_to(tmp_path))
    assert first == (
        "apps/x/train.yaml:1:4  a: common/t.yaml has no key aug_mediun. Did you mean aug_medium?"
    )
    assert second.startswith("apps/x/train.yaml:2:5  b.0:") or "apps/x/train.yaml:3:5" in second
    assert "no file common/tt.yaml" in second
    assert "Did you mean ../../common/t.yaml?" in second


@pytest.mark.seed("S0-60")
def test_includes_are_relative_to_the_including_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "three/c.yaml", "deep: {value: 3}\n")
    write(tmp_path, "two/b.yaml", "inner: !include ../three/c.yaml\n")
    path = write(tmp_path, "one/a.yaml", 'outer: "!include ../two/b.yaml::inner.deep"\n')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert composed(path).data == {"outer": {"value": 3}}


@pytest.mark.seed("S0-61")
def test_cycles_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "b.yaml", "x: !include a.yaml\n")
    (message,) = problems(write(tmp_path, "a.yaml", "y: !include b.yaml\n"))
    assert message == "b.yaml:1:4  y.x: includes itself: a.yaml -> b.yaml -> a.yaml"
    (message,) = problems(write(tmp_path, "own.yaml", "x: !include own.yaml::x.y\n"))
    assert "own.yaml:1:4  x: includes itself" in message
    write(tmp_path, "base1.yaml", "_base_: base2.yaml\n")
    (message,) = problems(write(tmp_path, "base2.yaml", "_base_: base1.yaml\n"))
    assert "base2.yaml -> base1.yaml -> base2.yaml" in message


def test_two_files_may_use_each_other_without_a_cycle(tmp_path: Path) -> None:
    write(tmp_path, "b.yaml", "x: 1\ny: !include a.yaml::p\n")
    path = write(tmp_path, "a.yaml", "p: 5\nq: !include b.yaml::y\nown: !include '::p'\n")
    assert composed(path).data == {"p": 5, "q": 5, "own": 5}


@pytest.mark.seed("S0-62")
def test_template_first_then_the_rest(tmp_path: Path) -> None:
    text = """
alone: {template: "!include ../../common/t.yaml::aug_medium"}
over:
  backend: Torchvision
  template: !include ../../common/t.yaml::aug_medium
inline: {template: {a: 1, b: {c: 2}}, b: {d: 3}}
"""
    data = compose_text(tmp_path, text)
    assert data["alone"]["backend"] == "Albumentations"
    assert data["over"]["backend"] == "Torchvision"
    assert data["over"]["transforms"] == data["alone"]["transforms"]
    assert data["inline"] == {"a": 1, "b": {"c": 2, "d": 3}}


@pytest.mark.seed("S0-63")
def test_mappings_merge_and_lists_are_replaced(tmp_path: Path) -> None:
    text = """
t:
  template: "!include ../../common/t.yaml::aug_medium"
  options: {deep: {b: 3}}
  transforms:
    - {type: Resize, kwargs: {height: 224, width: 224}}
    - {type: ColorJitter, kwargs: {brightness: 0.2, contrast: 0.2}}
"""
    data = compose_text(tmp_path, text)
    assert [item["type"] for item in data["t"]["transforms"]] == ["Resize", "ColorJitter"]
    assert data["t"]["options"] == {"seed": 1, "deep": {"a": 1, "b": 3}}


@pytest.mark.seed("S2-49")
def test_a_node_of_another_type_replaces_the_old_one(tmp_path: Path) -> None:
    """Adam's arguments do not follow into SGD; the same type keeps what is not overridden."""
    base = "solver:\n  optimizer: {type: Adam, kwargs: {lr: 0.1, betas: [0.9, 0.99]}}\n"
    write(tmp_path, "apps/x/base.yaml", base)
    other = "_base_: base.yaml\nsolver:\n  optimizer: {type: SGD, kwargs: {lr: 0.2}}\n"
    same = "_base_: base.yaml\nsolver:\n  optimizer: {type: Adam, kwargs: {lr: 0.2}}\n"
    assert compose_text(tmp_path, other)["solver"]["optimizer"] == {
        "type": "SGD",
        "kwargs": {"lr": 0.2},
    }
    assert compose_text(tmp_path, same)["solver"]["optimizer"]["kwargs"] == {
        "lr": 0.2,
        "betas": [0.9, 0.99],
    }


@pytest.mark.seed("S0-64")
def test_template_at_any_depth_and_in_list_items(tmp_path: Path) -> None:
    text = """
mapping:
  x:
    template: "!include ../../common/t.yaml::image"
    kwargs: {dtype: half}
hooks:
  - template: "!include ../../common/t.yaml::bare"
    kwargs: {decay: 0.9}
  - {template: {template: {type: A, kwargs: {a: 1}}, kwargs: {b: 2}}, kwargs: {a: 3}}
prompt: {type: apps.x.Prompt, kwargs: {template: "a photo of a {}"}}
"""
    data = compose_text(tmp_path, text)
    assert data["mapping"]["x"]["kwargs"] == {"normalize": "imagenet", "dtype": "half"}
    assert data["hooks"][0] == {"type": "cvtrainer.hooks.EMAHook", "kwargs": {"decay": 0.9}}
    assert data["hooks"][1] == {"type": "A", "kwargs": {"a": 3, "b": 2}}
    assert data["prompt"]["kwargs"] == {"template": "a photo of a {}"}


@pytest.mark.seed("S0-65")
def test_the_source_of_a_template_stays_as_it_is(tmp_path: Path) -> None:
    text = """
one:
  template: "!include ../../common/t.yaml::aug_medium"
  options: {deep: {a: 9}}
two: {template: "!include ../../common/t.yaml::aug_medium"}
anchor: &a {deep: {k: 1}}
three: {template: *a, deep: {k: 2}}
"""
    data = compose_text(tmp_path, text)
    assert data["one"]["options"]["deep"]["a"] == 9
    assert data["two"]["options"]["deep"]["a"] == 1
    assert data["two"]["transforms"] is not data["one"]["transforms"]
    assert data["anchor"] == {"deep": {"k": 1}}
    assert data["three"] == {"deep": {"k": 2}}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("t: {template: ../../common/t.yaml}", 'Did you mean "!include ../../common/t.yaml"?'),
        ("t: {template: 3}", "an !include or a mapping, not a number"),
        ("t: {template: !include ../../common/t.yaml::names, a: 1}", "template is a list"),
        ("t: '!include'", "names no file"),
        ("t: !include ../../common/t.yaml::names.cow", "no key names.cow"),
        ("_base_: 3", "names a file or a list of files"),
        ("_base_: [../../common/t.yaml, no.yaml]", "no.yaml"),
        ("t: !include ../../common", "there is no file"),
        ("t: !include ../../common/broken.yaml", "broken.yaml:2:"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, word: str) -> None:
    write(tmp_path, "common/t.yaml", COMMON)
    write(tmp_path, "common/broken.yaml", "a: [1\n")
    (message,) = problems(write(tmp_path, "apps/x/train.yaml", text + "\n"))
    assert word in message


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    text = "a: !include no.yaml\nb: {template: 3}\nc: [!include nope.yaml]\nd: ${e}\n"
    assert len(problems(write(tmp_path, "train.yaml", text))) == 4


def test_bases_child_over_second_over_first(tmp_path: Path) -> None:
    write(tmp_path, "b/one.yaml", "x: 1\ny: 1\nz: {a: 1}\nkeep: [1]\n")
    write(tmp_path, "b/two.yaml", "_base_: one.yaml\ny: 2\nz: {b: 2}\n")
    write(tmp_path, "p.py", "_base_ = ['b/two.yaml']\nz = dict(c=3)\nkeep = [2, 3]\n")
    tree = composed(tmp_path / "p.py")
    assert tree.data == {"x": 1, "y": 2, "z": {"a": 1, "b": 2, "c": 3}, "keep": [2, 3]}


def test_positions_survive(tmp_path: Path) -> None:
    write(tmp_path, "t.yaml", "k:\n  a: 1\n  b: 2\n  c: {d: 4}\n")
    text = "x:\n  template: !include t.yaml::k\n  b: 3\ny: !include t.yaml::k\nz: ${x.b}\n"
    origins = composed(write(tmp_path, "train.yaml", text)).origins

    def place(mark: Any) -> str:
        return f"{Path(mark.file).name}:{mark.line}"

    assert place(origins.value(("x", "a"))) == "t.yaml:2"
    assert place(origins.value(("x", "b"))) == "train.yaml:3"
    assert place(origins.value(("x", "c", "d"))) == "t.yaml:4"
    ((mark, value),) = origins.history(("x", "b"))
    assert (place(mark), value) == ("t.yaml:3", 2)
    assert [place(mark) for mark in origins.via(("x", "a"))] == ["train.yaml:2"]
    assert origins.via(("x", "b")) == ()
    assert place(origins.key(("y",))) == "train.yaml:4"
    assert place(origins.value(("y", "a"))) == "t.yaml:2"
    assert place(origins.value(("z",))) == "train.yaml:3"
    assert [place(mark) for mark in origins.via(("z",))] == ["train.yaml:5"]


def test_references(tmp_path: Path) -> None:
    text = """
size: 224
half: ${size}
name: net_${size}_${flag}
flag: true
stages:
  - name: train
    optimizer: {type: Adam, kwargs: {lr: 0.1}}
    copy: ${stages.train.optimizer}
    lr: ${stages.train.optimizer.lr}
    far: ${half}
    through: ${stages.train.copy.kwargs.lr}
literal: $${size} costs $5
"""
    data = composed(write(tmp_path, "c.yaml", text)).data
    stage = data["stages"][0]
    assert data["half"] == 224
    assert data["name"] == "net_224_true"
    assert stage["copy"] == stage["optimizer"]
    assert stage["copy"] is not stage["optimizer"]
    assert (stage["lr"], stage["far"], stage["through"]) == (0.1, 224, 0.1)
    assert data["literal"] == "${size} costs $5"


def test_broken_references_are_told_together(tmp_path: Path) -> None:
    text = "size: 1\na: ${sise}\nb: ${c}\nc: ${b}\nd: {e: 'x${d}'}\nf: [1]\ng: x${f}\nh: ${}\n"
    found = problems(write(tmp_path, "c.yaml", text))
    assert len(found) == 6
    assert "c.yaml:2:4  a: ${sise}: there is no sise. Did you mean size?" in found[0]
    assert "b -> c -> b" in found[1]
    assert "leads back to itself" in found[3]
    assert "a list and fits no text" in found[4]


def test_references_follow_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, "c.yaml", "size: 1\nbig: {s: '${size}'}\n")
    assert compose(load_file(path), path, overrides=["size=7"]).data["big"]["s"] == 7


def test_an_override_may_include(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "t.yaml", COMMON)
    path = write(tmp_path, "apps/x/c.yaml", "stages: [{name: a}]\n")
    tree = compose(load_file(path), path, overrides=["model=!include t.yaml::image"])
    assert tree.data["stages"][0]["model"]["kwargs"]["dtype"] == "float"
    with pytest.raises(ConfigErrors, match=r"t\.yaml has no key imag"):
        compose(load_file(path), path, overrides=["model=!include t.yaml::imag"])


def test_includes_of_json_and_python(tmp_path: Path) -> None:
    write(tmp_path, "a.json", '{"k": {"v": 1}}')
    write(tmp_path, "b.py", "cfg = {'k': {'v': 2}}\n")
    path = write(tmp_path, "c.yaml", "a: !include a.json::k.v\nb: !include b.py::k.v\n")
    assert composed(path).data == {"a": 1, "b": 2}
