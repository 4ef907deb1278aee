"""What has changed in a config since the run that is resumed began: said once, and kept.

The run folder's `config.yaml` is then the new one, because it describes what goes on there; those
before it stay in `earlier_configs`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.jobs.config import Difference, differences

_MOST = 5
_OF_THE_RUN = ("project", "name", "dir", "resume", "resume_lr")
"""They say where and how it is run, not what."""


def tell_changes(run: RunFolder, config: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """One line with the keys that differ, if any, and the new config into the run folder."""
    written = run.path / "config.yaml"
    try:
        before = compile_config(written, check=False).resolved
    except UserError:  # gone, or made by another version: there is nothing to compare with
        return
    found = [one for one in differences(before, _plain(config)) if _matters(one.key)]
    if not found:
        return
    shown = ", ".join(map(_in_words, found[:_MOST]))
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    rates = any(".optimizer" in one.key for one in found) and config["resume_lr"] == "keep"
    hint = "; the optimizer's settings stay as they were saved (see resume_lr)" if rates else ""
    say(f"resume: changed in the config since then: {shown}{more}{hint}")
    folder = make_folder(run.path / "earlier_configs")
    aside = next(
        path for number in count(1) if not (path := folder / f"config_{number}.yaml").exists()
    )
    shutil.copyfile(written, aside)
    run.write_config(dict(config))


def _matters(key: str) -> bool:
    return key not in _OF_THE_RUN and ".logger" not in key


def _in_words(one: Difference) -> str:
    if one.only == "left":
        return f"{one.key} is gone"
    if one.only == "right":
        return f"{one.key} is new"
    return f"{one.key} {_short(one.left)} -> {_short(one.right)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _plain(value: Any) -> Any:
    """As a file would give it."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
