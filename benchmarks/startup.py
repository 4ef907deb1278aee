"""How long the command line takes before it does anything, next to Python's and torch's own start.

    python -m benchmarks.startup

Rounds alternate over all commands; the median counts. A separate run tells which commands import
torch. Budgets: 0.25 s for help and listings, 0.6 s for checking a config.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.near_empty import table


@dataclass(frozen=True)
class Command:
    """One line of the table."""

    label: str
    arguments: tuple[str, ...]
    budget_s: float | None = None


CLI = ("-m", "cvtrainer.cli")
COMMANDS = (
    Command("python -c pass", ("-c", "pass")),
    Command("cvtrainer --help", (*CLI, "--help"), 0.25),
    Command("cvtrainer list", (*CLI, "list"), 0.25),
    Command(
        "cvtrainer config check", (*CLI, "config", "check", "apps/cifar10_demo/train.yaml"), 0.6
    ),
    Command("import torch", ("-c", "import torch")),
)


def seconds(command: Command) -> float:
    """Wall-clock time of one run; a command that fails is no measurement."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *command.arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def imports_torch(command: Command) -> bool:
    """Whether Python's own import log of that command names torch."""
    line = [sys.executable, "-X", "importtime", *command.arguments]
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    return any(entry.rpartition("|")[2].strip() == "torch" for entry in done.stderr.splitlines())


def measure(rounds: int) -> dict[Command, float]:
    """Median seconds of each command."""
    times: dict[Command, list[float]] = {command: [] for command in COMMANDS}
    for command in COMMANDS:
        seconds(command)
    for _ in range(rounds):
        for command in COMMANDS:
            times[command].append(seconds(command))
    return {command: statistics.median(values) for command, values in times.items()}


def main() -> int:
    """Print the table; 1 if a budget is exceeded."""
    parser = argparse.ArgumentParser(description="start-up times")
    parser.add_argument("--rounds", type=int, default=9)
    medians = measure(parser.parse_args().rounds)
    bare, torch = medians[COMMANDS[0]], medians[COMMANDS[-1]]
    rows, exceeded = [], False
    for command, median in medians.items():
        over = command.budget_s is not None and median > command.budget_s
        exceeded |= over
        budget = f"{command.budget_s:.2f}" if command.budget_s else ""
        rows.append(
            [
                command.label,
                f"{median:.3f}",
                f"{median / bare:.1f}",
                f"{median / torch:.2f}",
                "yes" if imports_torch(command) else "no",
                f"{budget}{' over' if over else ''}",
            ]
        )
    header = ["command", "seconds", "of python", "of torch", "torch imported", "budget s"]
    print(table(header, rows))
    return int(exceeded)


if __name__ == "__main__":
    sys.exit(main())
