"""`pytest --seed-report`: which rows of features.tsv have a test that carries their number.

It only collects, so it takes seconds. A row is an id such as S0-07; the part before the dash
names the document that asked for it.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import pytest

FEATURES = Path(__file__).resolve().parent / "features.tsv"


def read_features() -> dict[str, str]:
    """Row id -> one line of what it asks for."""
    with FEATURES.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return {row["id"]: row["feature"] or "" for row in rows}


def add_option(parser: pytest.Parser) -> None:
    """The command-line switch."""
    parser.addoption(
        "--seed-report",
        action="store_true",
        help="collect only, and print which feature rows the tests cover",
    )


class SeedReport:
    """Gathers the `seed` marks of all collected tests and prints the table."""

    def __init__(self) -> None:
        self.tests: dict[str, list[str]] = defaultdict(list)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note which test carries which row."""
        for item in items:
            for mark in item.iter_markers("seed"):
                for row in mark.args:
                    self.tests[row].append(item.nodeid)
        items.clear()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """That no test is left to run is meant, and no error."""
        if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print covered and missing rows, per document."""
        features = read_features()
        terminalreporter.section("feature rows")
        for line in report_lines(features, self.tests):
            terminalreporter.write_line(line)


def report_lines(features: dict[str, str], tests: dict[str, list[str]]) -> list[str]:
    """The table: a line per document, then each missing row of the documents begun."""
    documents: dict[str, list[str]] = defaultdict(list)
    for row in features:
        documents[row.split("-")[0]].append(row)
    lines = [f"{'document':<10}{'rows':>6}{'covered':>9}{'missing':>9}{'tests':>7}"]
    missing: list[str] = []
    for document, rows in sorted(documents.items()):
        covered = [row for row in rows if tests.get(row)]
        marked = len({test for row in rows for test in tests.get(row, [])})
        absent = len(rows) - len(covered)
        lines.append(f"{document:<10}{len(rows):>6}{len(covered):>9}{absent:>9}{marked:>7}")
        if covered:
            missing += [row for row in rows if not tests.get(row)]
    lines += ["", f"missing in documents begun: {len(missing)}"]
    lines += [f"  {row}  {features[row]}" for row in missing]
    unknown = sorted(row for row in tests if row not in features)
    if unknown:
        lines += ["", f"marks that name no row: {', '.join(unknown)}"]
    return lines
