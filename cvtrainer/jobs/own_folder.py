"""A config whose files all go into the run's own folder: for runs that are not the real one.

Rehearsals and trials must not touch what a config's real runs left in the folders it names, nor
each other's files.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

_PLACES = ("save_dir", "log_dir")
_OUR_PLACES = ("folder", "dir")
"""Arguments of our own hooks and loggers; elsewhere these words may mean something to read."""


def into_own_folder(config: Mapping[str, Any], *, suffix: str = "") -> dict[str, Any]:
    """The resolved config without written folders; the run's name gets the suffix."""
    changed: dict[str, Any] = copy.deepcopy(dict(config))
    changed["name"] = f"{changed['name']}{suffix}"
    changed["dir"] = None
    for stage in changed["stages"]:
        for node in [*stage["hooks"], *stage["logger"]]:
            ours = str(node["type"]).startswith("cvtrainer.")
            for place in (*_PLACES, *(_OUR_PLACES if ours else ())):
                if isinstance(node.get("kwargs"), dict):
                    node["kwargs"].pop(place, None)
    return changed
