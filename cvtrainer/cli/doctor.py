"""`cvtrainer doctor`: look at this machine and its packages; exit code 1 if it cannot train."""

from __future__ import annotations

import argparse

from cvtrainer.cli.program import Subparsers
from cvtrainer.cli.table import paint, table

STYLES = {"ok": "green", "note": "yellow", "fault": "red"}


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words."""
    return subparsers.add_parser("doctor", help="look at this machine and its packages")


def run(args: argparse.Namespace) -> int:
    """A table of findings, then what to do about them."""
    from cvtrainer.jobs.doctor import examine, is_fit

    findings = examine()
    shown = table([(one.verdict.value, one.topic, one.value) for one in findings])
    for line in shown.splitlines():
        word = line.split(maxsplit=1)[0]
        print(paint(word, STYLES[word]) + line[len(word) :])
    advice = [f"{one.topic}: {one.todo}" for one in findings if one.todo]
    if advice:
        print("\n" + "\n".join(advice))
    fit = is_fit(findings)
    print(f"\n{'this machine can train' if fit else 'this machine cannot train yet'}")
    return 0 if fit else 1
