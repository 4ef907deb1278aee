"""The documents' code does what they say: configs compile, commands parse, Python runs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import yaml

from cvtrainer.cli.program import VERBS, _parser
from cvtrainer.cli.words import sort_words
from cvtrainer.core.compile import compile_config
from cvtrainer.core.schema import DATALOADER, RUN, SPLIT, STAGE
from tests.architecture.source_tree import ROOT
from tests.docs.pages import TRANSLATED, Snippet, command_lines, snippets
from tests.project import cvtrainer

MODEL = "class MyModel:\n    def __init__(self, num_classes: int, width: int = 8) -> None: ...\n"
BASE = """
model: apps.my_project.model.MyModel
model_args: {num_classes: 5}
criterion: CrossEntropyLoss
optimizer: {type: Adam, kwargs: {lr: 0.001}}
dataloader:
  train: {dataset: {data_path: data/train}, dataloader_args: {batch_size: 8}}
  val:
    dataset: {data_path: data/val}
    tensorizer:
      type: tensorizer
      mapping: {x: {type: image, normalize: null}, class_id: index}
    dataloader_args: {batch_size: 8}
meters: [LossMeter, AccuracyMeter]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the shipped apps and templates and a project of one's own."""
    for folder in ("apps", "configs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("logs"))
    (tmp_path / "apps" / "my_project").mkdir()
    (tmp_path / "apps" / "my_project" / "model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def completed(text: str) -> str:
    """A fragment laid into a stage that is complete without it; a whole config as it is."""
    fragment = yaml.safe_load(text)
    if "stages" in fragment or "checkpoint" in fragment:
        return text
    stage = yaml.safe_load(BASE)
    for key, value in fragment.items():
        if key in STAGE:
            if key == "dataloader":
                value = {**stage[key], **value}
            stage[key] = value
            if key == "model":
                del stage["model_args"]
        else:
            assert key in SPLIT, f"{key} is no key of a stage or a split"
            stage["dataloader"]["train"][key] = value
    return yaml.safe_dump(stage, sort_keys=False)


@pytest.mark.parametrize("snippet", snippets("yaml"), ids=str)
def test_configs_compile(snippet: Snippet, project: Path) -> None:
    """Every YAML block is a valid config, or fits into one."""
    config = project / "apps" / "my_project" / "train.yaml"
    config.write_text(completed(snippet.text), encoding="utf-8")
    compiled = compile_config(config)
    assert compiled.resolved["stages"][0]["model"]["type"]


@pytest.mark.parametrize("snippet", snippets("python"), ids=str)
def test_python_runs(snippet: Snippet, project: Path) -> None:
    """Every Python block that trains nothing runs; the others compile."""
    code = compile(snippet.text, str(snippet), "exec")
    if "cvtrainer.train(" not in snippet.text:
        exec(code, {"__name__": "snippet"})


@pytest.mark.long
@pytest.mark.parametrize(
    "snippet", [s for s in snippets("python") if "cvtrainer.train(" in s.text], ids=str
)
def test_python_that_trains_runs(snippet: Snippet, project: Path) -> None:
    """The blocks that train do so, in a process of their own."""
    import subprocess

    script = project / "snippet.py"
    script.write_text(snippet.text)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("place", "words"), command_lines(), ids=lambda v: "" if isinstance(v, list) else v
)
def test_commands_are_understood(place: str, words: list[str], project: Path) -> None:
    """Every command exists, takes these options, and its overrides fit the config it names."""
    if words[0] == "torchrun":
        assert "-m" in words
        words = ["cvtrainer", *words[words.index("cvtrainer.cli") + 1 :]]
    if words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
        return
    if words[0] == "pip":
        assert words[1] == "install"
        assert (ROOT / words[-1]).exists()
        return
    assert words[0] == "cvtrainer"
    assert words[1] in VERBS
    args, rest = _parser(words[1]).parse_known_args(words[1:])
    assert not [word for word in rest if word.startswith("-")], rest
    config = getattr(args, "config", None)
    if config and Path(config).is_file():
        _, overrides = sort_words([*args.words, *rest])
        compile_config(config, overrides)


def test_config_commands_run(project: Path) -> None:
    """The commands that only look at configs run as written."""
    looked = [words[1:] for _, words in command_lines() if words[:2] == ["cvtrainer", "config"]]
    looked = [words for words in looked if "apps/fruit/train.yaml" not in words]
    assert len(looked) >= 5
    for words in looked:
        done = cvtrainer(*words, cwd=project)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        assert done.stdout.strip()


@pytest.mark.parametrize(("page", "other"), TRANSLATED.items())
def test_the_translation_shows_the_same_code(page: str, other: str) -> None:
    """Same code blocks in both languages, and the same number of sections and table rows."""
    ours = [(s.language, s.text) for s in snippets(pages=(page,)) if s.language]
    theirs = [(s.language, s.text) for s in snippets(pages=(other,)) if s.language]
    assert ours == theirs
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in (page, other)]
    for mark in ("\n## ", "\n### ", "\n| "):
        assert texts[0].count(mark) == texts[1].count(mark), mark


def test_the_skeleton_has_no_word_twice() -> None:
    """Fragments are sorted into stage and split by their key, so no key may be in both."""
    assert not set(SPLIT) & set(STAGE)
    assert not set(DATALOADER) & set(RUN)
