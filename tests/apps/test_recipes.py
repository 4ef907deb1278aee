"""Every ready config has a header that holds, and runs through all its stages and phases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cvtrainer
from benchmarks import recipes
from benchmarks.recipes import Expected, Header, HeaderError, Row, configs, copy_of_apps, put_into

HEADER = """\
# Words.
# expects: val/accuracy >= 0.9
# expects: val/loss <= 1e-1 in taught
# takes: about 1.5 min on one core
# lately: val/accuracy 0.95 (seed 0)
# lately: val/loss 0.05 (seed 0) in taught
project: some
"""


@pytest.fixture
def read(tmp_path: Path):
    """The header of a file with this text."""
    file = tmp_path / "train.yaml"

    def of(text: str) -> Header:
        file.write_text(text, encoding="utf-8")
        return Header.read(file)

    return of


@pytest.mark.parametrize("config", configs(), ids=lambda path: path.parent.name)
def test_its_header_says_what_to_expect(config: Path) -> None:
    """In a form that can be compared with a run; six minutes are the most."""
    assert Header.read(config).seconds <= 360


@pytest.mark.parametrize("config", configs(), ids=lambda path: path.parent.name)
def test_it_runs_through_every_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Path
) -> None:
    """One batch of each phase, saved and resumed, with the metrics that its header names."""
    monkeypatch.chdir(copy_of_apps(tmp_path))
    done = cvtrainer.train(f"apps/{config.parent.name}/train.yaml", fast_dev_run=1, run_dir="run")
    for one in Header.read(config).expects:
        assert recipes.values(Path(done.run), one.metric, one.stage), one.metric


@pytest.mark.parametrize("page", recipes.PAGES, ids=lambda path: path.parent.name)
def test_the_page_lists_them_all(page: Path) -> None:
    """In both languages, and nothing that is not there."""
    text = page.read_text(encoding="utf-8").partition("```bash")[0]
    listed = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert listed == [config.parent.name for config in configs()]


@pytest.mark.parametrize("page", recipes.PAGES, ids=lambda path: path.parent.name)
def test_what_a_header_saw_stands_on_the_page(page: Path) -> None:
    """Both are written by the same run of `make recipes`."""
    table = page.read_text(encoding="utf-8").partition(recipes.BEGIN)[2]
    rows = {
        tuple(row[1:3]): row[4]
        for row in (re.split(r" *\| *", one) for one in table.split("\n"))
        if len(row) > 4
    }
    for config in configs():
        for metric, stage, value in Header.read(config).lately:
            shown = f"{metric} ({stage})" if stage else metric
            assert rows.get((f"`{config.parent.name}`", shown)) == f"{value:.4g}", shown


def test_a_header_is_read(read) -> None:
    """Bounds, stages and the time, until the first line that is no comment."""
    header = read(HEADER + "# expects: nonsense\n")
    assert header.words == "Words."
    assert header.seconds == 90
    assert header.expects == (
        Expected("val/accuracy", True, 0.9),
        Expected("val/loss", False, 0.1, "taught"),
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("# expects: val/accuracy >= 0.9\n", "", "each metric of expects: needs a lately:"),
        ("# takes: about 1.5 min on one core\n", "", "one takes:"),
        ("1.5 min on one core", "a while", "train.yaml:4: not understood"),
        (">= 0.9", "> 0.9", "train.yaml:2: not understood"),
        ("accuracy 0.95", "accuracy 0.85", "val/accuracy was 0.85 lately, expected is ≥ 0.9"),
        (" in taught\nproject", "\nproject", "each metric of expects: needs a lately:"),
        ("# Words.\n", "", "needs a sentence"),
    ],
)
def test_what_a_header_lacks_is_said(read, old: str, new: str, said: str) -> None:
    """One line that names the file."""
    with pytest.raises(HeaderError, match=said.replace("?", r"\?")):
        read(HEADER.replace(old, new))


def test_rows_take_the_place_of_older_ones(tmp_path: Path) -> None:
    """Those of other configs stay, those of configs that are gone leave."""
    page = tmp_path / "recipes.md"
    head = "| Config | Metric |\n|---|---|"
    old = "| `digits` | old |\n| `gone` | old |\n| `picture_codes` | kept |"
    page.write_text(f"before\n{recipes.BEGIN}\n\n{head}\n{old}\n\n{recipes.END}\nafter\n")
    expected = Expected("val/accuracy", True, 0.9)
    put_into(page, [Row("digits", expected, 0.5, 0.95, 30.4, 29.6)])
    text = page.read_text()
    assert text.splitlines() == [
        *("before", recipes.BEGIN, "", *head.splitlines()),
        "| `digits` | val/accuracy | 0.5 | 0.95 | ≥ 0.9 | 30 | 30 |",
        *("| `picture_codes` | kept |", "", recipes.END, "after"),
    ]


def test_what_was_seen_goes_into_the_header(tmp_path: Path) -> None:
    """The seed and the stage stay, and so does everything else."""
    file = tmp_path / "train.yaml"
    file.write_text(HEADER, encoding="utf-8")
    expected = Header.read(file).expects
    rows = [
        Row("some", one, 0.5, last, 1, 1) for one, last in zip(expected, (0.97, 0.04), strict=True)
    ]
    recipes.put_into_header(file, rows)
    new = HEADER.replace("0.95", "0.97").replace("0.05", "0.04")
    assert file.read_text(encoding="utf-8") == new
