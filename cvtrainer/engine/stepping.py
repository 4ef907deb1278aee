"""How this stage makes its steps: everything between a batch and the optimizer's move, built once.

Here the plan's wishes about a step come together: how a batch is delivered, in which precision is
computed, how many batches make one step. The trainer only asks for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch.optim import Optimizer

from cvtrainer.ddp.world import World
from cvtrainer.engine.binding import samples_of_all_ranks
from cvtrainer.engine.explaining import explaining
from cvtrainer.engine.grouping import Grouping
from cvtrainer.engine.partial_gradients import PartialGradients
from cvtrainer.engine.plan import Plan
from cvtrainer.engine.points import HookTable
from cvtrainer.engine.prepare import Networks, delivery
from cvtrainer.engine.step import StepFunction, build_step, in_precision
from cvtrainer.engine.view import StageView
from cvtrainer.protocols import Batch, State, Task


class Stepping:
    """`deliver` brings a batch of a stream to the networks; `evaluate` computes without a step."""

    def __init__(
        self,
        task: Task,
        networks: Networks,
        optimizers: Mapping[str, Optimizer],
        plan: Plan,
        world: World,
    ) -> None:
        self.deliver = delivery(plan, getattr(task, "refuse_unknown", None))
        evaluate = in_precision(task.evaluate, plan.autocast)
        self.evaluate = explaining(
            evaluate, task.networks, learns=False, compiled=plan.compile is not None
        )
        self._task = task
        self._networks = networks
        self._optimizers = optimizers
        self._plan = plan
        self._world = world
        self.group = Grouping(plan.accumulate, plan.reduction)
        self.grouped = self.group.every > 1
        self.make: StepFunction | None = None
        """Puts a batch through all due updates."""
        self._gradients = PartialGradients(optimizers)

    def build(self, table: HookTable, view: StageView) -> StepFunction:
        """Make the step function for these listeners."""
        self.make = build_step(
            self._task,
            self._optimizers,
            table,
            view,
            plan=self._plan,
            grouping=self.group,
            gradients=self._gradients,
            networks=self._networks.used.values(),
            weighted=self._world.world_size > 1,
        )
        return self.make

    def open(self, batch: Batch, place: int, length: int) -> None:
        """Announce the batch at that place of an epoch of that length, where they are grouped."""
        self.group.open(place, length, samples_of_all_ranks(batch, self._world.world_size))

    def steps_in(self, batches: int) -> int:
        """Optimizer steps of an epoch of so many batches."""
        return self.group.steps_in(batches)

    def state_dict(self) -> State:
        """What this rank has gathered of a step that is not complete."""
        if self.group.last:
            return {}
        return {"group": self.group.state_dict(), "updates": self._gradients.state_dict()}

    def load_states(self, states: Sequence[State], say: Callable[[str], None]) -> None:
        """Take up what the ranks had gathered then; with other ranks now, everybody the mean."""
        if not states or not states[0]:
            return
        if not self.group.fits(states[0]["group"]):
            say(
                "resume: the batches per step changed in the middle of one; "
                "what it had gathered is dropped"
            )
            return
        own = len(states) == self._world.world_size and not self._plan.lockstep
        self.group.load_state_dict(states[0]["group"])
        mine = [states[self._world.rank]] if own else states
        self._gradients.load_state_dicts([state["updates"] for state in mine])
