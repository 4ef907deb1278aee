"""The planner's figures for a contract, so that a device's time can be estimated without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import read_contract, write_contract
from cvtrainer.deploy.planner.capture import capture
from cvtrainer.deploy.planner.graph import Graph as Steps
from cvtrainer.deploy.planner.graph import Precision, Rules
from cvtrainer.deploy.planner.plan import plan_graph
from cvtrainer.deploy.program import Deployable
from cvtrainer.jobs.export.graph import Graph
from cvtrainer.jobs.load import Trained


class Planner:
    """Plans the network without what is read in its outputs, for one picture at a time."""

    def __init__(
        self, graph: Graph, trained: Trained, example: Tensor, say: Callable[[str], None]
    ) -> None:
        self._plans: dict[Precision, dict[str, Any]] = {}
        self._steps: Steps | None = None
        raw = [name for name in graph.compute(example) if name not in graph.decoded]
        try:
            module = Deployable(trained.network, graph.compute, raw)
            self._steps = capture(module, (example[:1],))
        except UserError as error:
            say(f"no plan for devices: {error.what}")

    def note(self, artefact: Path, precision: str) -> None:
        """In the contract beside the artefact; an int8 one is planned without float layers."""
        if self._steps is None:
            return
        kept = Precision.INT8 if precision == "int8" else Precision.FLOAT
        if kept not in self._plans:
            self._plans[kept] = _own_names(plan_graph(self._steps, Rules(kept)).brief())
        contract = read_contract(artefact)
        write_contract(artefact, replace(contract, plan=self._plans[kept]))


def _own_names(told: dict[str, Any]) -> dict[str, Any]:
    """Layers as the network calls them, not as what was wrapped around it does."""
    layers = [{**one, "name": one["name"].removeprefix("network.")} for one in told["layers"]]
    return {**told, "layers": layers}
