"""Run every peer's script in an environment of its own and print one table of ratios.

    python -m benchmarks.peers.run [NAME ...] [--borrow]

Environments are kept in .peers/ and made on first use from requirements/NAME.txt. With --borrow
they take torch and whatever else fits from the environment this runs in, which saves gigabytes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

from benchmarks.near_empty import table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / ".peers"
REQUIREMENTS = HERE / "requirements"


def peers() -> list[str]:
    """Names of the scripts, which are the names of the requirement files.

    Those named real_... train on real data and are asked by benchmarks/real.
    """
    names = sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))
    return [name for name in names if not name.startswith("real_")]


def environment(name: str, *, borrow: bool) -> Path:
    """The Python of that peer's environment, made and filled where it is missing."""
    home = ENVIRONMENTS / name
    python = home / "bin" / "python"
    stamp = home / ".installed"
    if stamp.exists():
        return python
    venv.create(home, with_pip=True, clear=True)
    if borrow:
        site = sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)})
        borrowed = sysconfig.get_path("purelib")
        (Path(site) / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
    wanted = ["-r", str(REQUIREMENTS / f"{name}.txt")]
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
    stamp.touch()
    return python


def measure(name: str, *, borrow: bool) -> list[dict[str, Any]]:
    """What that peer's script reports."""
    python = environment(name, borrow=borrow)
    line = [str(python), "-m", f"benchmarks.peers.{name}"]
    done = subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    lines = [text for text in done.stdout.splitlines() if text.startswith('{"peer"')]
    return [json.loads(text) for text in lines]


def main() -> int:
    """Print the table; 1 if a peer could not be measured."""
    parser = argparse.ArgumentParser(description="the near-empty step in other frameworks")
    parser.add_argument("names", nargs="*", choices=peers())
    parser.add_argument("--borrow", action="store_true")
    options = parser.parse_args()
    rows, failed = [], False
    for name in options.names or peers():
        try:
            results = measure(name, borrow=options.borrow)
        except subprocess.CalledProcessError as error:
            print(f"{name}: exit code {error.returncode}", file=sys.stderr)
            failed = True
            continue
        for result in results:
            rows.append(
                [
                    f"{result['peer']} {result['version']} ({result['variant']})",
                    f"{result['by_hand_us']:.0f}",
                    f"{result['with_loop_us']:.0f}",
                    f"{result['added_us']:.0f}",
                    f"{result['with_loop_us'] / result['by_hand_us']:.1f}",
                ]
            )
    print(table(["loop", "by hand us", "peer us", "added us", "ratio"], rows))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
