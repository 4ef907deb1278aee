"""`cvtrainer ckpt show | diff | average | strip`: what is in checkpoints, and weights out of them.

Exit codes of `diff`: 0 the same, 1 different, 2 the call or a file is wrong.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from cvtrainer.cli.data_pack import size_text
from cvtrainer.cli.program import Parser, Subparsers
from cvtrainer.cli.table import number, paint, table

if TYPE_CHECKING:
    from cvtrainer.jobs.ckpt.diff import Compared
    from cvtrainer.jobs.ckpt.making import Made
    from cvtrainer.jobs.ckpt.show import Content

_NAMED = 10
"""So many differences of a component are named; the rest is counted."""


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """The verb's words: one of its actions."""
    parser: Parser = subparsers.add_parser("ckpt", help="look into checkpoints, average, strip")
    actions = parser.add_subparsers(
        title="actions", metavar="ACTION", dest="action", required=True, parser_class=Parser
    )

    def action(name: str, act: Callable[[argparse.Namespace], int], text: str) -> Parser:
        added: Parser = actions.add_parser(name, help=text, description=text)
        added.set_defaults(act=act, parser=added)
        return added

    showing = action("show", _show, "what is inside, and whether it is whole")
    showing.add_argument("file", metavar="FILE")
    showing.add_argument("--json", action="store_true", help="all of it as JSON")
    comparing = action("diff", _diff, "what differs between two, component by component")
    comparing.add_argument("one", metavar="A")
    comparing.add_argument("other", metavar="B")
    comparing.add_argument(
        "--only", metavar="COMPONENT", help="such as networks, networks.model or hooks.ema"
    )
    comparing.add_argument("--json", action="store_true", help="every difference as JSON")
    averaging = action("average", _average, "the mean of the weights of several")
    averaging.add_argument("files", nargs="+", metavar="FILE")
    averaging.add_argument("-o", "--out", required=True, metavar="OUT", help="the new file")
    averaging.add_argument(
        "--ema", action="store_true", help="of the averages that training kept, not the weights"
    )
    stripping = action("strip", _strip, "only the weights that inference needs")
    stripping.add_argument("file", metavar="FILE")
    stripping.add_argument("-o", "--out", required=True, metavar="OUT", help="the new file")
    return parser


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    act: Callable[[argparse.Namespace], int] = args.act
    return act(args)


def _show(args: argparse.Namespace) -> int:
    from cvtrainer.jobs.ckpt.show import show

    content = show(args.file)
    if args.json:
        print(json.dumps(content.as_plain(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(content_lines(content)))
    return 0


def _diff(args: argparse.Namespace) -> int:
    from cvtrainer.jobs.ckpt.diff import diff

    compared = diff(args.one, args.other, only=args.only)
    if args.json:
        print(json.dumps([one.as_plain() for one in compared], indent=2, ensure_ascii=False))
    else:
        print("\n".join(line for one in compared for line in compared_lines(one)))
    return int(any(one.found for one in compared))


def _average(args: argparse.Namespace) -> int:
    from cvtrainer.jobs.ckpt.making import average

    made = average(args.files, args.out, averaged=args.ema)
    print(f"{made.path}: the mean of {len(args.files)} checkpoints, {size_text(made.bytes_after)}")
    return 0


def _strip(args: argparse.Namespace) -> int:
    from cvtrainer.jobs.ckpt.making import strip

    print(made_line(strip(args.file, args.out)))
    return 0


def made_line(made: Made) -> str:
    """Sizes before and after, and which weights were taken."""
    before, after = size_text(made.bytes_before), size_text(made.bytes_after)
    line = f"{made.path}: {before} before, {after} after"
    return line + (f"; averaged weights of {', '.join(made.averaged)}" if made.averaged else "")


def content_lines(content: Content) -> list[str]:
    """What a person wants to know of a file."""
    checksum = "checksum right" if content.checksum else "no checksum (of another program)"
    rows = [("file", f"{content.path}, {size_text(content.bytes)}, {checksum}")]
    if content.stage is not None:
        rows.append(("stage", content.stage))
    if content.step is not None:
        closed = "" if content.position.get("closed", True) else ", in the middle of it"
        rows.append(("position", f"epoch {content.epoch}{closed}, step {content.step}"))
    if content.run_id is not None:
        rows.append(("run", f"{content.run_id} {content.run_path or ''}".strip()))
    for name, network in content.networks.items():
        kinds = ", ".join(f"{count} {kind}" for kind, count in network.dtypes.items())
        average = "; an average beside" if network.averaged else ""
        text = f"{network.parameters:,} parameters, {network.tensors} tensors ({kinds}){average}"
        rows.append((f"network {name}", text))
    for name, one in content.optimizers.items():
        rates = ", ".join(f"{rate:g}" for rate in dict.fromkeys(one.lr))
        text = f"{one.parameters} tensors at lr {rates or '?'}, {size_text(one.bytes)}"
        rows.append((f"optimizer {name}", text))
    rows += [(f"hook {name}", size_text(size)) for name, size in content.hooks.items()]
    rows += [(f"metric {name}", number(value)) for name, value in content.metrics.items()]
    if content.classes is not None:
        rows.append(("classes", str(content.classes)))
    if content.others:
        rows.append(("besides", ", ".join(content.others)))
    return table(rows).splitlines()


def compared_lines(compared: Compared) -> list[str]:
    """One line for a component that is the same, a few for one that is not."""
    if not compared.found:
        return [f"{compared.component}: the same"]
    largest = "" if compared.largest is None else f", by {compared.largest:.3g} at most"
    count = len(compared.found)
    head = f"{compared.component}: differs in {count} place{'s' * (count > 1)}{largest}"
    lines = [paint(head, "yellow")]
    for one in compared.found[:_NAMED]:
        lines.append(f"  {'.'.join(one.path)}: {one.what}" if one.path else f"  {one.what}")
    if count > _NAMED:
        lines.append(f"  and {count - _NAMED} more")
    return lines
