"""The feature table, and the report that compares it with the tests' marks."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.seed_report import FEATURES, read_features, report_lines


def test_every_row_of_the_five_documents_is_listed() -> None:
    """The counts of rows per document are fixed; the first document's rows say what they ask."""
    features = read_features()
    counts = Counter(row.split("-")[0] for row in features)
    assert counts == {"S0": 112, "S1": 79, "S2": 109, "S3": 91, "S4": 85}
    for row in features:
        assert re.fullmatch(r"S[0-4]-\d\d+", row)
        assert features[row] or not row.startswith("S0-")


def test_rows_are_unique() -> None:
    """No id stands twice."""
    lines = FEATURES.read_text(encoding="utf-8").splitlines()[1:]
    ids = [line.split("\t")[0] for line in lines]
    assert len(ids) == len(set(ids)) == 476


def test_report_counts_covered_and_missing_rows() -> None:
    """A marked row counts as covered, an unmarked one is listed, an unknown one is named."""
    features = {"S0-01": "one", "S0-02": "two", "S1-01": ""}
    text = "\n".join(report_lines(features, {"S0-01": ["a", "b"], "S9-99": ["c"]}))
    assert re.search(r"^S0 +2 +1 +1 +2$", text, re.MULTILINE)
    assert re.search(r"^S1 +1 +0 +1 +0$", text, re.MULTILINE)
    assert "  S0-02  two" in text
    assert "S1-01" not in text
    assert "marks that name no row: S9-99" in text


def test_the_option_prints_the_table(root: Path, tmp_path: Path) -> None:
    """`pytest --seed-report` collects, prints and succeeds."""
    line = [
        sys.executable,
        "-m",
        "pytest",
        "--seed-report",
        "-q",
        "tests/suite",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^document +rows +covered +missing +tests$", done.stdout, re.MULTILINE)
    assert re.search(r"^S0 +112 ", done.stdout, re.MULTILINE)
