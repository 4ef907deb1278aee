"""The words that verbs share: a config, given as an option or first word, and `a.b=c` overrides."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cvtrainer.core.errors import UserError


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--config F` or the first word, then overrides."""
    parser.add_argument("--config", metavar="FILE", help="the config; may also be the first word")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="key=value",
        help="overrides, such as epochs=3 or hooks.ema.decay=0.99",
    )


def config_and_overrides(args: argparse.Namespace) -> tuple[str, list[str]]:
    """The config's path and the overrides."""
    files, overrides = sort_words(args.words)
    if args.config is not None:
        files = [args.config, *files]
    if not files:
        raise UserError("which config?", where=args.parser.prog, todo="Give --config FILE.")
    if len(files) > 1:
        raise UserError(
            f"{files[1]!r} is neither an option nor key=value",
            where=args.parser.prog,
            todo="Write overrides as key=value, such as epochs=3.",
        )
    return files[0], overrides


def checked_config(args: argparse.Namespace, purpose: str) -> tuple[str, list[str]]:
    """The same, with everything that is wrong told before the job imports torch."""
    from cvtrainer.core.compile import compile_config

    config, overrides = config_and_overrides(args)
    compile_config(config, overrides, purpose=purpose)
    return config, overrides


def sort_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Plain words and overrides, each in their order."""
    plain = [word for word in words if "=" not in word]
    return plain, [word for word in words if "=" in word]
