"""The process that runs the user's config as ordered: `python -m …verify_resume.child ORDERS`.

Everything that the config writes somewhere goes into the folder of this attempt instead; loggers
other than metrics.jsonl are left out. Nothing else of the config is changed but how often it is
evaluated, where that would be never in so short a run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from cvtrainer.core.compile import CompiledConfig, compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.experiment import Surroundings
from cvtrainer.jobs.resumed_rates import KEEP
from cvtrainer.jobs.train import train_otherwise
from cvtrainer.jobs.verify_resume.batches import make_batches
from cvtrainer.jobs.verify_resume.moments import Moments
from cvtrainer.jobs.verify_resume.orders import START, Orders, Trace
from cvtrainer.jobs.verify_resume.watch import Watch


def main(path: str) -> int:
    """Carry out the orders in that file."""
    orders = Orders.read(Path(path))
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        compiled = compile_config(orders.config, orders.overrides, purpose="train")
        compiled.resolved = contained(compiled.resolved, Path(orders.folder))
        trace = Trace(orders.trace)
        if orders.data:
            make_batches(compiled, orders, trace)
        else:
            _train(compiled, orders, trace)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _train(compiled: CompiledConfig, orders: Orders, trace: Trace) -> None:
    stages: list[dict[str, Any]] = compiled.resolved["stages"]
    moments = Moments(trace, from_start=orders.closely == START)

    def adapt(around: Surroundings) -> None:
        def epochs() -> int | None:
            named = [one for one in stages if one["name"] == around.checkpoints.name]
            found: int | None = (named or stages)[0]["epochs"]
            return found

        watch = Watch(orders, trace, moments, epochs)
        around.adapt_streams = watch.adapt_streams
        around.adapt_hooks = lambda hooks: [
            *(moments.among(hooks) if orders.closely else hooks),
            watch,
        ]

    train_otherwise(compiled, adapt, resume=orders.resume)


def contained(resolved: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The config with all that it writes in that folder."""
    config: dict[str, Any] = deepcopy(dict(resolved))
    config["dir"] = str(folder)
    config["resume_lr"] = KEEP  # rates that begin anew on purpose would not be the unbroken run's
    for stage in config["stages"]:
        stage["logger"] = [{"name": "jsonl", "type": "cvtrainer.logger:JsonlLogger", "kwargs": {}}]
        for hook in stage.get("hooks") or []:
            arguments = hook.get("kwargs") or {}
            for key, value in arguments.items():
                if isinstance(value, str) and (key == "dir" or key.endswith("_dir")):
                    arguments[key] = str(folder / "hooks" / hook["name"])
        stage["ddp"] = {**stage["ddp"], "enabled": False, "num_gpus": 1}
        if stage["eval_every"]:
            stage["eval_every"] = _often_enough(stage["eval_every"])
    return config


def _often_enough(every: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation in each of the few epochs, unless steps are few as well."""
    steps = every.get("steps")
    if (steps is not None and steps <= 8) or (every.get("epochs") or 1) < 1:
        return dict(every)
    return {"epochs": 1}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
