"""Parse, hand over to one verb, and turn what happens into one line and an exit code.

The table of verbs is all that `--help` reads. Errors about input are a line on stderr; an exception
from somewhere else, such as the user's own code, keeps its traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn, Protocol, cast

from cvtrainer import __version__
from cvtrainer.core.errors import UserError

VERBS: dict[str, tuple[str, str]] = {
    "train": ("cvtrainer.cli.train", "train what a config describes"),
    "eval": ("cvtrainer.cli.eval", "measure a checkpoint without training"),
    "predict": ("cvtrainer.cli.predict", "ask a trained model about pictures"),
    "export": ("cvtrainer.cli.export", "make and prove the file that a device runs"),
    "bench": ("cvtrainer.cli.bench", "measure how long artefacts take, side by side"),
    "model": ("cvtrainer.cli.model", "look at a model: layers, parameters, MACs, memory"),
    "tune": ("cvtrainer.cli.tune", "find a learning rate, a batch size, any other setting"),
    "verify-resume": ("cvtrainer.cli.verify_resume", "check that a resumed run is exact"),
    "replay": ("cvtrainer.cli.replay", "find the layer where a run went wrong"),
    "ckpt": ("cvtrainer.cli.ckpt", "look into checkpoints, compare, average, strip them"),
    "config": ("cvtrainer.cli.config", "check, show, explain or compare configs"),
    "new": ("cvtrainer.cli.new", "start a project of your own"),
    "list": ("cvtrainer.cli.list", "list the parts that a config can name"),
    "data": ("cvtrainer.cli.data", "look at data: figures, pictures, defects, splits"),
    "doctor": ("cvtrainer.cli.doctor", "look at this machine and its packages"),
}
"""Verb -> the module that speaks for it, and one line of help."""

INTERRUPTED = 130


class Subparsers(Protocol):
    """What `add` of a verb's module gets."""

    def add_parser(self, name: str, **settings: Any) -> Parser: ...


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message, where=self.prog, todo=f"See {self.prog} --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        return _command(words)
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        if debug:
            traceback.print_exc()
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has left, as `head` does
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the end)
        return 0
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except Exception:
        traceback.print_exc()
        return 1


def _command(words: list[str]) -> int:
    verb = next((word for word in words if not word.startswith("-")), None)
    parser = _parser(verb)
    if verb is None:
        parser.parse_args(words)
        parser.print_help()
        return 2
    if verb not in VERBS:
        parser.parse_args([word for word in words if word.startswith("-")])
        raise _unknown(verb)
    args, rest = parser.parse_known_args(words)
    _take_words(args, rest)
    _let_imports_find_here()
    return int(args.run(args))


def _parser(verb: str | None) -> Parser:
    """The whole program in outline, and the asked verb in detail."""
    parser = Parser(
        prog="cvtrainer",
        description="Config-driven training of small on-device vision models.",
        epilog="cvtrainer VERB --help tells more about a verb.",
    )
    parser.add_argument("--version", action="version", version=f"cvtrainer {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of input errors too")
    subparsers = cast(
        Subparsers,
        parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", parser_class=Parser),
    )
    for name, (module, text) in VERBS.items():
        if name != verb:
            subparsers.add_parser(name, help=text)
            continue
        speaker = import_module(module)
        added = speaker.add(subparsers)
        added.description = added.description or text
        added.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
        added.set_defaults(run=speaker.run, parser=added)
    return parser


def _take_words(args: argparse.Namespace, rest: Sequence[str]) -> None:
    """Give a verb that takes free words those that stand between and after its options."""
    unknown = [word for word in rest if word.startswith("-") or not hasattr(args, "words")]
    if unknown:
        args.parser.error(f"unknown argument {unknown[0]}")
    if rest:
        args.words = [*args.words, *rest]


def _unknown(verb: str) -> UserError:
    from cvtrainer.core.suggest import nearest

    near = nearest(verb, VERBS)
    todo = f"Did you mean {near}?" if near else f"There are {', '.join(VERBS)}."
    return UserError(f"there is no verb {verb!r}", where="cvtrainer", todo=todo)


def _let_imports_find_here() -> None:
    """Import paths in configs start at the working directory, as with `python -m`."""
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
