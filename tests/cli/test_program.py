"""The command line: one line per mistake, exit codes, and no torch where none is needed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cvtrainer import __version__
from cvtrainer.cli import main
from cvtrainer.cli.program import VERBS
from cvtrainer.cli.table import table
from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.ddp.launch import Nodes

CONFIG = """
stages:
  - name: train
    epochs: 3
    model: {type: torch.nn.Linear, kwargs: {in_features: 3, out_features: 2}}
    criterion: CrossEntropyLoss
    optimizer:
      type: Adam
      kwargs:
        template: !include t.yaml::k
        lr: 0.2
    dataloader:
      train:
        dataset: {data_path: data}
    hooks: [ema, checkpoint]
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "a.yaml").write_text(CONFIG)
    (tmp_path / "t.yaml").write_text("k:\n  lr: 0.1\n  weight_decay: 0.01\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return "a.yaml"


def job(monkeypatch: pytest.MonkeyPatch, name: str, function: object) -> None:
    module = ModuleType(f"cvtrainer.jobs.{name}")
    setattr(module, name, function)
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_help_tells_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"\n    {verb}\s+\w", text) for verb in VERBS)
    assert main([]) == 2
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"usage: cvtrainer {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["--help"], ["config", "check", "a.yaml"], ["config", "show", "--hooks", "a.yaml"]]
)
def test_torch_is_not_imported(config: str, words: list[str]) -> None:
    program = (
        "import sys\n"
        "from cvtrainer.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "slow = {'torch', 'numpy', 'rich'} & set(sys.modules)\n"
        "assert not slow, slow\n"
        "assert 'yaml' not in sys.modules or '--help' not in sys.argv\n"
    )
    subprocess.run([sys.executable, "-c", program, *words], check=True)


@pytest.mark.parametrize("module", ["cvtrainer", "cvtrainer.cli"])
def test_runs_as_a_module(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "trian"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "cvtrainer: there is no verb 'trian'. Did you mean train?\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train"], "which config?"),
        (["train", "a.yaml", "b.yaml"], "neither an option nor key=value"),
        (["train", "--config", "a.yaml", "epochs"], "neither an option nor key=value"),
        (["train", "no.yaml"], "no.yaml: no such config file"),
        (["train", "a.yaml", "--num_gpus", "two"], "not a number of GPUs"),
        (["train", "a.yaml", "--what"], "unknown argument --what"),
        (["eval", "a.yaml", "epochz=1"], "Did you mean epochs?"),
        (["config"], "required: ACTION"),
        (["config", "check"], "which config?"),
        (["config", "check", "a.yaml", "epochz=1"], "Did you mean epochs?"),
        (["config", "explain", "a.yaml"], "which key"),
        (["config", "explain", "a.yaml", "epoch"], "Did you mean epochs?"),
        (["config", "schema", "extra"], "unknown argument extra"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    config: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.seed("S0-06", "S0-07", "S0-10")
def test_train_hands_its_words_over(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Result:
        run = Path("runs/x")
        rank = 0
        metrics = {"train": {"val/accuracy": 0.5}}  # noqa: RUF012 (read only)

    seen = {}

    def train(config: str, **settings: object) -> Result:
        seen.update(settings, config=config)
        return Result()

    job(monkeypatch, "train", train)
    words = ["--resume", "auto", "--config", "a.yaml", "epochs=1", "--num_gpus", "4", "seed=2"]
    assert main(["train", *words]) == 0
    assert seen == {
        "config": "a.yaml",
        "overrides": ["epochs=1", "seed=2"],
        "resume": "auto",
        "num_gpus": 4,
        "run_dir": None,
        "stage": None,
        "nodes": Nodes(),
    }
    assert capsys.readouterr().out == "train  val/accuracy  0.5000\nrun folder: runs/x\n"


@pytest.mark.seed("S1-44", "S2-18")
@pytest.mark.parametrize(
    ("words", "resume", "overrides"),
    [
        (["a.yaml"], None, []),
        (["a.yaml", "--resume"], "auto", []),
        (["--resume", "a.yaml"], "auto", []),
        (["--resume", "a.yaml", "epochs=1"], "auto", ["epochs=1"]),
        (["a.yaml", "--resume", "epochs=1"], "auto", ["epochs=1"]),
        (["--config", "a.yaml", "--resume", "epochs=1", "seed=2"], "auto", ["epochs=1", "seed=2"]),
        (["--resume", "--config", "a.yaml"], "auto", []),
        (["a.yaml", "--resume", "runs/x/last.pth", "seed=2"], "runs/x/last.pth", ["seed=2"]),
        (["a.yaml", "--resume=runs/x"], "runs/x", []),
    ],
)
def test_resume_may_stand_alone(
    config: str,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    resume: str | None,
    overrides: list[str],
) -> None:
    seen = {}

    def train(config: str, **settings: object) -> object:
        seen.update(settings, config=config)
        raise UserError("enough")

    job(monkeypatch, "train", train)
    assert main(["train", *words]) == 2
    assert (seen["config"], seen["resume"], sorted(seen["overrides"])) == (
        "a.yaml",
        resume,
        overrides,
    )


@pytest.mark.seed("S0-08")
def test_eval_prints_every_meter(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job(monkeypatch, "evaluate", lambda config, **_: {"val/loss": 2.5e-5, "val/accuracy": 1.0})
    assert main(["eval", "a.yaml", "--checkpoint", "best.pth"]) == 0
    assert capsys.readouterr().out == "val/loss      2.500e-05\nval/accuracy     1.0000\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("bad input"), 2, "bad input\n"),
        (RunFailed("disk full"), 1, "disk full\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ZeroDivisionError("own code"), 1, "Traceback"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_exit_codes(
    config: str,
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def train(config: str, **_: object) -> None:
        raise error

    job(monkeypatch, "train", train)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    assert main(["train", config]) == code
    text = capsys.readouterr().err
    assert text.startswith(said)
    assert ("Traceback" in text) == isinstance(error, ZeroDivisionError)
    main(["--debug", "train", config])
    if code == 2:
        assert "Traceback" in capsys.readouterr().err


def test_check_tells_all_mistakes_of_all_files(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "check", "a.yaml"]) == 0
    assert capsys.readouterr().out.endswith("ok  a.yaml  (train)\n")
    Path("b.yaml").write_text("stages: !include no.yaml\nname: ${nobody}\n")
    Path("c.yaml").write_text("a: [\n")
    assert main(["config", "check", "a.yaml", "b.yaml", "c.yaml"]) == 2
    captured = capsys.readouterr()
    assert "ok  a.yaml" in captured.out
    assert [line.split(" ")[0] for line in captured.err.splitlines()] == [
        "b.yaml:1:9",
        "b.yaml:2:7",
        "c.yaml:2:1",
    ]


@pytest.mark.seed("S0-62")
def test_show_composed_and_resolved(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "a.yaml", "epochs=7"]) == 0
    text = capsys.readouterr().out
    assert "epochs: 7" in text
    assert "weight_decay: 0.01" in text
    assert main(["config", "show", "--resolved", "a.yaml"]) == 0
    Path("r.yaml").write_text(capsys.readouterr().out)
    assert main(["config", "diff", "a.yaml", "r.yaml"]) == 0
    assert capsys.readouterr().out == "no difference\n"


def test_show_hooks_in_call_order(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.py").write_text(
        "from cvtrainer.hooks.base import BaseHook, Rank\n"
        "class First(BaseHook):\n"
        "    rank = Rank.UPDATE\n"
        "    def after_eval(self, stage): ...\n"
        "class Second(First):\n"
        "    def before_save(self, stage): ...\n"
    )
    words = ["hooks=[checkpoint, own.Second, ema]", "hooks.checkpoint.enabled=true"]
    assert main(["config", "show", "--hooks", "a.yaml", *words]) == 0
    rows = [line.split(maxsplit=2)[1:] for line in capsys.readouterr().out.splitlines()]
    assert ["after_eval", "second, ema, logger, checkpoint"] in rows  # the logger was not named
    assert ["before_save", "second, checkpoint"] in rows
    assert ["after_optimize", "ema"] in rows


def test_explain_names_file_line_and_flag(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "explain", "optimizer.lr", "--config", "a.yaml", "optimizer.lr=1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "stages.train.optimizer.kwargs.lr = 1",
        "  set by      command line: optimizer.lr=1",
        "  instead of  a.yaml:11:13                  0.2",
        "  instead of  t.yaml:2:7                    0.1",
    ]
    assert main(["config", "explain", "a.yaml", "optimizer.weight_decay"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  set by   t.yaml:3:17",
        "  through  a.yaml:10:19",
    ]
    assert main(["config", "explain", "a.yaml", "seed"]) == 0
    assert "set by  default" in capsys.readouterr().out


def test_explain_works_in_a_config_with_mistakes(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["config", "explain", "a.yaml", "optimizer.type", "optimizer.type=Adan"]
    assert main(words) == 0
    assert "command line: optimizer.type=Adan" in capsys.readouterr().out


def test_diff_names_entries_and_reads_run_folders(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from cvtrainer.core.compile import compile_config
    from cvtrainer.core.run_folder import RunFolder

    run = RunFolder.create("p", "n", root="runs")
    changed = ["epochs=4", "hooks.ema=null", "hooks.checkpoint.save_freq=2", "name=a"]
    run.write_config(compile_config("a.yaml", changed).resolved)
    assert main(["config", "diff", "a.yaml", str(run.path)]) == 0
    rows = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert ["~", "stages.train.epochs", "3 -> 4"] in rows
    assert ["+", "stages.train.hooks.checkpoint.kwargs.save_freq", "2"] in rows
    assert ["-", "stages.train.hooks.ema.name", '"ema"'] in rows


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"]


def test_tables_align_numbers_and_wide_characters() -> None:
    assert table([("中文", "1.5", "x"), ("a", "10.25", "")]) == "中文    1.5  x\na     10.25"
    assert table([]) == ""
