"""The command line: `cvtrainer VERB …`.

A verb is a module of this package with `add(subparsers)` and `run(args) -> int`; only the one that
is asked for is imported, and it imports its job when it runs. Exit codes: 0 done, 1 the run failed,
2 the input is wrong, 130 interrupted.
"""

from __future__ import annotations

from cvtrainer.cli.program import main

__all__ = ["main"]
