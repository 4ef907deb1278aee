"""Files become plain data with positions, the same from YAML, JSON and Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvtrainer.core.errors import ConfigErrors, UserError
from cvtrainer.core.load import find_config, load_file
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.core.tree import Tree


def load_text(folder: Path, text: str, name: str = "c.yaml") -> Tree:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return load_file(path)


def problems(folder: Path, text: str, name: str = "c.yaml") -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load_text(folder, text, name)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("12", 12),
        ("1_000", 1000),
        ("0x1F", 31),
        ("010", 10),
        ("None", "None"),
        ("null", None),
        ("~", None),
        ("true", True),
        ("off", False),
        ("1:30", "1:30"),
        ("2020-01-02", "2020-01-02"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("e5", "e5"),
        ("-", [None]),
        ("v1.2.3", "v1.2.3"),
        ("!include a/b.yaml::k", "!include a/b.yaml::k"),
        ("'!include a/b.yaml::k'", "!include a/b.yaml::k"),
    ],
)
def test_scalars(tmp_path: Path, written: str, value: object) -> None:
    data = load_text(tmp_path, f"x:\n  {written}\n").data
    assert data["x"] == value
    assert type(data["x"]) is type(value)


def test_every_key_and_value_has_a_position(tmp_path: Path) -> None:
    tree = load_text(tmp_path, "\ufeff# 训练配置\nstages:\n  - name: 阶段  # 注释\n    epochs: 3\n")
    key, value = (
        tree.origins.key(("stages", 0, "epochs")),
        tree.origins.value(("stages", 0, "epochs")),
    )
    assert tree.data == {"stages": [{"name": "阶段", "epochs": 3}]}
    assert key is not None
    assert value is not None
    assert (key.line, key.column, value.column) == (4, 5, 13)
    assert key.text.endswith("c.yaml:4:5")


def test_key_written_twice_names_both_lines(tmp_path: Path) -> None:
    (message,) = problems(tmp_path, "a:\n  lr: 1\n  b: 2\n  lr: 3\n")
    assert "c.yaml:4:3  a.lr: is written twice" in message
    assert "c.yaml:2:3" in message


def test_all_mistakes_of_a_file_at_once(tmp_path: Path) -> None:
    text = "a: 1\na: 2\nb: !wrong 3\nc: !!int x\n? [1]\n: 2\n"
    assert len(problems(tmp_path, text)) == 4


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "line 2"),
        ("a:\n\tb: 1\n", 2, "tab"),
        ("a: 1\nb: c: d\n", 2, "mapping values"),
        ("a: {b: ${c}}\n", 1, "needs quotes"),
        ("a: *nobody\n", 1, "alias"),
        ("a: 1\n---\nb: 2\n", 2, "document"),
        ("a: 1\nb: \x07\n", 2, "not allowed"),
    ],
)
def test_syntax_errors_have_a_position(tmp_path: Path, text: str, line: int, word: str) -> None:
    (message,) = problems(tmp_path, text)
    assert f"c.yaml:{line}:" in message
    assert word in message
    assert "\n" not in message


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    text = "base: &b {lr: 1, wd: 2}\nown:\n  <<: *b\n  lr: 3\ncopy: *b\n"
    tree = load_text(tmp_path, text)
    assert tree.data["own"] == {"lr": 3, "wd": 2}
    assert tree.data["copy"] is not tree.data["base"]
    mark = tree.origins.value(("own", "wd"))
    assert mark is not None
    assert mark.line == 1
    assert [value for _, value in tree.origins.history(("own", "lr"))] == [1]


def test_anchor_within_itself(tmp_path: Path) -> None:
    (message,) = problems(tmp_path, "a: &x\n  b: *x\n")
    assert "contains itself" in message


def test_not_utf8_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes("a: 1\nb: 中\n".encode("gbk"))
    with pytest.raises(ConfigErrors, match=r"c\.yaml:2:4 .*UTF-8"):
        load_file(tmp_path / "c.yaml")


def test_not_a_mapping(tmp_path: Path) -> None:
    assert "not a list" in problems(tmp_path, "- 1\n")[0]
    assert load_text(tmp_path, "").data == {}


@pytest.mark.seed("S0-14")
def test_lookup_from_three_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "apps" / "my_project"
    project.mkdir(parents=True)
    config = project / "train.yaml"
    config.write_text("seed: 1\n")
    for place in (tmp_path, tmp_path / "apps", project):
        monkeypatch.chdir(place)
        assert find_config("my_project/train.yaml").resolve() == config
    monkeypatch.chdir(tmp_path)
    assert find_config("apps/my_project/train.yaml") == Path("apps/my_project/train.yaml")
    assert find_config("my_project/train.yaml") == Path("apps/my_project/train.yaml")


def test_missing_file_is_one_line_with_a_near_match(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.yaml").write_text("")
    with pytest.raises(UserError) as caught:
        find_config("trian.yaml")
    assert str(caught.value) == "trian.yaml: no such config file. Did you mean train.yaml?"
    with pytest.raises(UserError, match="cannot be read"):
        load_file("nothing.yaml")


def test_json_positions_and_mistakes(tmp_path: Path) -> None:
    text = '{\n  "a": [1e-3, {"b": null}],\n  "c": "\\ud83d\\ude00"\n}\n'
    tree = load_text(tmp_path, text, "c.json")
    assert tree.data == {"a": [0.001, {"b": None}], "c": "😀"}
    mark = tree.origins.key(("a", 1, "b"))
    assert mark is not None
    assert (mark.line, mark.column) == (2, 16)
    assert (
        "c.json:2:2  a: is written twice" in problems(tmp_path, '{"a": 1,\n "a": 2}', "c.json")[0]
    )
    assert "c.json:1:8" in problems(tmp_path, '{"a": 1\n "b": 2}', "c.json")[0]
    assert problems(tmp_path, '{"a": 1} x', "c.json")
    assert load_text(tmp_path, "{}", "c.json").data == {}


PYTHON_FORMS = {
    "variable": """
        lr = 1e-3
        cfg = dict(
            seed=1,
            optimizer=dict(type="Adam", kwargs={"lr": lr}),
            sizes=(1, 2),
        )
        """,
    "names": """
        import math
        from pathlib import Path
        _hidden = 3
        LOUD = 4
        seed = 1
        optimizer = {"type": "Adam", "kwargs": dict(lr=math.pow(10, -3))}
        sizes = [1, 2]
        def unused(x): return x
        def unused_too(x): return x
        """,
    "function": """
        def config():
            optimizer = dict(type="Adam", kwargs=dict(lr=0))
            optimizer["kwargs"]["lr"] = 1e-3
            return {"seed": 1, "optimizer": optimizer, "sizes": [1, 2]}
        """,
}


@pytest.mark.seed("S2-46", "S2-47")
@pytest.mark.parametrize(("form", "line"), [("variable", 2), ("names", 7), ("function", 4)])
def test_python_gives_the_same_tree_with_positions(tmp_path: Path, form: str, line: int) -> None:
    import textwrap

    tree = load_text(tmp_path, textwrap.dedent(PYTHON_FORMS[form]), "c.py")
    assert tree.data == {
        "seed": 1,
        "optimizer": {"type": "Adam", "kwargs": {"lr": 0.001}},
        "sizes": [1, 2],
    }
    mark = tree.origins.value(("optimizer", "kwargs", "lr"))
    assert mark is not None
    assert mark.line == line


def test_python_classes_become_import_paths(tmp_path: Path) -> None:
    text = (
        "from collections import OrderedDict\n"
        "class Net: pass\n"
        "cfg = {'model': Net, 'box': OrderedDict(a=OrderedDict)}\n"
    )
    data = load_text(tmp_path, text, "c.py").data
    assert data["model"] == f"{tmp_path / 'c.py'}:Net"
    assert data["box"] == {"a": "collections:OrderedDict"}


def test_python_config_may_import_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_config.py").write_text("sizes = [1]\n")
    text = "from neighbour_of_config import sizes\ncfg = dict(sizes=sizes)\n"
    assert load_text(tmp_path, text, "c.py").data == {"sizes": [1]}


def test_python_mistakes(tmp_path: Path) -> None:
    assert "c.py:2:" in problems(tmp_path, "a = 1\ncfg = dict(\n", "c.py")[0]
    (message,) = problems(tmp_path, "cfg = dict(\n  a=1,\n  b={1, 2},\n)\n", "c.py")
    assert "c.py:3:" in message
    assert "b: a set object" in message
    with pytest.raises(ZeroDivisionError) as caught:
        load_text(tmp_path, "x = 1\ny = x / 0\n", "c.py")
    assert caught.traceback[-1].lineno == 1


def test_written_config_reads_back_to_the_same(tmp_path: Path) -> None:
    data = {
        "a": "1e-3",
        "b": 1e-3,
        "c": ["yes", "1:30", "010", "None", "", None, True, "!plain", "a: b # c", "1_0"],
        "d": {"中": "文\n二", 3: float("inf"), "e": [], "f": {}},
    }
    run = RunFolder.create("p", "n", root=tmp_path)
    assert load_file(run.write_config(data)).data == data
