"""Profiles a few steps with torch's own profiler, and nothing outside of them.

After `wait` steps of the stage come `warmup` steps that are not kept and `active` ones that are.
The trace goes into `profile/` of the run folder, for chrome://tracing or ui.perfetto.dev, and the
most costly operators into the log. A run that is resumed behind these steps does not profile again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch.profiler import ProfilerActivity, profile, schedule

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank


class ProfilerHook(BaseHook):
    """`top` operators are told, by their own time on the device where there is a GPU."""

    rank: ClassVar[Rank] = Rank.SAVE

    def __init__(
        self,
        wait: int = 10,
        warmup: int = 2,
        active: int = 5,
        top: int = 10,
        memory: bool = False,
        stacks: bool = False,
        folder: str | None = None,
    ) -> None:
        least = {"wait": (wait, 0), "warmup": (warmup, 1), "active": (active, 1), "top": (top, 0)}
        for name, (value, minimum) in least.items():
            if value < minimum:
                raise UserError(f"hooks.profiler: {name} is {value}; it must be {minimum} or more")
        self.wait = wait
        self.warmup = warmup
        self.active = active
        self.top = top
        self.memory = memory
        self.stacks = stacks
        self.folder = folder
        self._profile: profile | None = None

    def before_train(self, stage: StageView) -> None:
        self._begin_if_due(stage)

    def after_step(self, stage: StageView) -> None:
        if stage.phase != "train" or not stage.stepped:
            return
        if self._profile is None:
            self._begin_if_due(stage)
            return
        self._profile.step()
        if stage.step == self.wait + self.warmup + self.active:
            self._end(stage)

    def after_train(self, stage: StageView) -> None:
        """The stage was shorter than that, or failed: what there is, is kept."""
        if self._profile is not None:
            self._end(stage)

    def _begin_if_due(self, stage: StageView) -> None:
        if stage.step != self.wait or stage.trainer.world.rank or self._profile is not None:
            return
        activities = [ProfilerActivity.CPU]
        if stage.trainer.plan.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self._profile = profile(
            activities=activities,
            schedule=schedule(wait=0, warmup=self.warmup, active=self.active, repeat=1),
            profile_memory=self.memory,
            with_stack=self.stacks,
        )
        self._profile.start()

    def _end(self, stage: StageView) -> None:
        done, self._profile = self._profile, None
        assert done is not None
        done.stop()
        steps = stage.step - self.wait - self.warmup
        if steps < 1:
            stage.trainer.say("hooks.profiler: the stage ended before its steps began")
            return
        run = stage.trainer.run
        folder = Path(self.folder) if self.folder else (run.path if run else Path()) / "profile"
        trace = make_folder(folder) / f"{stage.name}_step_{stage.step}.json"
        done.export_chrome_trace(str(trace))
        first = self.wait + self.warmup + 1
        stage.trainer.say(f"profile of steps {first} to {stage.step}: {trace}")
        on: Literal["device", "cpu"] = (
            "device" if ProfilerActivity.CUDA in done.activities else "cpu"
        )
        for line in _table(done.key_averages(), on, steps)[: self.top + 1]:
            stage.trainer.say(line)


def _table(averages: Sequence[Any], on: Literal["device", "cpu"], steps: int) -> list[str]:
    """A heading and a line per operator, the most costly first."""
    costs = [
        (float(getattr(one, f"self_{on}_time_total")), int(one.count), str(one.key))
        for one in averages
        if not str(one.key).startswith("ProfilerStep")
    ]
    total = sum(cost for cost, _, _ in costs) or 1.0
    costs.sort(reverse=True)
    lines = [f"{'operator':<48} {'calls':>7} {'ms a step':>10} {'share':>6}"]
    for cost, calls, name in costs:
        shown = name if len(name) <= 48 else f"{name[:45]}..."
        lines.append(
            f"{shown:<48} {calls / steps:>7.1f} {cost / 1000 / steps:>10.3f} {cost / total:>6.1%}"
        )
    return lines
