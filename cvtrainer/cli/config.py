"""`cvtrainer config check | show | explain | diff | schema`: look at configs without running them.

Torch is not imported by any of these.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from cvtrainer.cli.program import Parser, Subparsers
from cvtrainer.cli.table import paint, table
from cvtrainer.cli.words import add_config, config_and_overrides, sort_words
from cvtrainer.core.errors import ConfigErrors, Problem, UserError


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words: one of five actions."""
    parser: Parser = subparsers.add_parser("config", help="check, show, explain or compare configs")
    actions = parser.add_subparsers(
        title="actions", metavar="ACTION", dest="action", required=True, parser_class=Parser
    )

    def action(name: str, act: Callable[[argparse.Namespace], int], text: str) -> Parser:
        added: Parser = actions.add_parser(name, help=text, description=text)
        added.set_defaults(act=act, parser=added)
        return added

    add_config(action("check", _check, "tell everything that is wrong, in every file given"))
    showing = action("show", _show, "print the config with all it includes")
    add_config(showing)
    form = showing.add_mutually_exclusive_group()
    form.add_argument("--resolved", action="store_true", help="the normal form that a run saves")
    form.add_argument("--hooks", action="store_true", help="which hooks are called, and when")
    add_config(action("explain", _explain, "tell which file, line or flag set KEY"))
    comparing = action("diff", _diff, "print where two configs or run folders differ")
    comparing.add_argument("left", metavar="A")
    comparing.add_argument("right", metavar="B")
    action("schema", _schema, "print the JSON schema of configs, for editors")
    return parser


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    act: Callable[[argparse.Namespace], int] = args.act
    return act(args)


def _check(args: argparse.Namespace) -> int:
    from cvtrainer.core.compile import compile_config

    files, overrides = sort_words(args.words)
    if args.config is not None:
        files = [args.config, *files]
    if not files:
        raise UserError("which config?", where=args.parser.prog, todo="Give --config FILE.")
    problems: list[Problem] = []
    for file in files:
        try:
            compiled = compile_config(file, overrides)
        except ConfigErrors as errors:
            problems.extend(errors.problems)
            continue
        for note in compiled.notes:
            print(f"{paint('note', 'yellow')}  {note}")
        stages = ", ".join(stage["name"] for stage in compiled.resolved["stages"])
        print(f"{paint('ok', 'green')}  {compiled.path or file}  ({stages})")
    if problems:
        raise ConfigErrors(problems)
    return 0


def _show(args: argparse.Namespace) -> int:
    config, overrides = config_and_overrides(args)
    if args.hooks:
        from cvtrainer.jobs.hook_table import hook_table

        rows = [
            (row.stage, row.point, ", ".join(row.hooks))
            for row in hook_table(config, overrides=overrides)
        ]
        print(table(rows) or "no hooks")
        return 0

    from cvtrainer.jobs.config import show

    print(show(config, overrides=overrides, resolved=args.resolved), end="")
    return 0


def _explain(args: argparse.Namespace) -> int:
    from cvtrainer.core.load import SUFFIXES
    from cvtrainer.jobs.config import explain

    plain, overrides = sort_words(args.words)
    if args.config is None:
        files = [word for word in plain if word.endswith(SUFFIXES)]
        args.config = files[0] if files else None
        plain = [word for word in plain if word != args.config]
    if args.config is None or len(plain) != 1:
        raise UserError(
            "which key of which config?",
            where=args.parser.prog,
            todo="Give --config FILE and one KEY, such as stages.train.optimizer.lr.",
        )
    for found in explain(args.config, plain[0], overrides=overrides):
        print(f"{paint(found.key, 'bold')} = {_short(found.now.value)}")
        rows = [("set by", found.now.place, "")]
        rows += [("through", place, "") for place in found.through]
        rows += [("instead of", old.place, _short(old.value)) for old in found.before]
        print(table(rows, indent="  "))
    return 0


def _diff(args: argparse.Namespace) -> int:
    from cvtrainer.jobs.config import diff

    found = diff(args.left, args.right)
    rows = []
    for one in found:
        if one.only is None:
            rows.append(("~", one.key, f"{_short(one.left)} -> {_short(one.right)}"))
        else:
            sign = "-" if one.only == "left" else "+"
            rows.append((sign, one.key, _short(one.left if sign == "-" else one.right)))
    styles = {"~": "yellow", "-": "red", "+": "green"}
    for line in table(rows).splitlines():
        print(paint(line, styles[line[0]]))
    if not found:
        print("no difference")
    return 0


def _schema(args: argparse.Namespace) -> int:
    from cvtrainer.core.json_schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0


def _short(value: Any) -> str:
    """A value in one line, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
