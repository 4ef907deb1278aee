"""The default task: one network, one criterion, one update named `main`.

It normalises what a network returns into named outputs and what a criterion returns into a
scalar with named parts. How fields reach parameters is `binding.py`'s business, found out on the
first batch of a form and reused from then on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.binding import (
    Arguments,
    Key,
    compile_arguments,
    form_of,
    input_fields,
    leaf_keys,
    names_of_predictions,
    target_fields,
)
from cvtrainer.engine.weights import load_weights
from cvtrainer.protocols import Batch, Outputs, State, UpdateResult


class SupervisedTask:
    """Also its own single update: `compute` is one forward pass and one loss."""

    name = "main"
    networks: Mapping[str, nn.Module]
    every = 1

    def __init__(
        self,
        model: nn.Module,
        criterion: nn.Module | None = None,
        *,
        outputs: Sequence[str] = (),
        bind_model: Mapping[str, str] | None = None,
        bind_criterion: Mapping[str, str] | None = None,
    ) -> None:
        self.networks = {"model": model}
        self.criterion = criterion
        self._model: nn.Module = model
        self._signature = model.forward
        self._output_names = tuple(outputs)
        self._bind_model = bind_model
        self._bind_criterion = bind_criterion
        self._model_arguments: dict[tuple[str, ...], Arguments] = {}
        self._criterion_arguments: dict[tuple[str, ...], Arguments] = {}

    def updates(self) -> Sequence[SupervisedTask]:
        return (self,)

    def replace(self, networks: Mapping[str, nn.Module]) -> None:
        self._model = networks["model"]

    def evaluate(self, batch: Batch) -> UpdateResult:
        return self.compute(batch)

    def compute(self, batch: Batch) -> UpdateResult:
        form = form_of(batch)
        arguments = self._model_arguments.get(form)
        if arguments is None:
            arguments = self._model_arguments[form] = self._bind_inputs(batch)
        outputs = self._named_outputs(arguments.call(self._model, batch))
        if self.criterion is None:
            raise UserError("criterion: this stage has none, so there is no loss; name one")
        form = (*form, *outputs)
        compare = self._criterion_arguments.get(form)
        if compare is None:
            compare = self._criterion_arguments[form] = self._bind_targets(batch, outputs)
        value = compare.call(self.criterion, {**batch, "outputs": outputs})
        if isinstance(value, Tensor):
            return UpdateResult(value, {}, outputs)
        return _several_losses(value, outputs)

    def state_dict(self) -> State:
        """What the criterion keeps: running values, weights of its own."""
        return {} if self.criterion is None else self.criterion.state_dict()

    def load_state_dict(self, state: State) -> None:
        if self.criterion is not None:
            load_weights(self.criterion, state, source="criterion")

    def predict(self, batch: Batch) -> Outputs:
        """Outputs alone; needs neither targets nor a criterion."""
        return self._named_outputs(self._bind_inputs(batch).call(self._model, batch))

    def _bind_inputs(self, batch: Batch) -> Arguments:
        return compile_arguments(
            self._signature,
            who="model",
            named={name: key for name, key in leaf_keys(batch).items() if name != "target"},
            spare=list(input_fields(batch)),
            bind=self._bind_model,
        )

    def _bind_targets(self, batch: Batch, outputs: Outputs) -> Arguments:
        results: dict[str, Key] = {name: ("outputs", name) for name in outputs}
        targets = target_fields(batch)
        named = {**leaf_keys(batch), **results}
        if isinstance(batch.get("target"), Mapping):
            named.pop("target", None)
        assert self.criterion is not None
        return compile_arguments(
            self.criterion.forward,
            who="criterion",
            named=named,
            spare=[*list(results.values())[:1], *targets],
            bind=self._bind_criterion,
            nameless=names_of_predictions(self.criterion.forward, batch, outputs),
        )

    def _named_outputs(self, value: Any) -> Outputs:
        if isinstance(value, Tensor):
            return {self._output_names[0] if self._output_names else "output": value}
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, (tuple, list)):
            names = self._output_names or (
                "output",
                *(f"output_{place}" for place in range(1, len(value))),
            )
            if len(names) != len(value):
                raise UserError(
                    f"model: it returns {len(value)} values, outputs names {len(names)}: "
                    f"{', '.join(names)}"
                )
            return dict(zip(names, value, strict=True))
        raise UserError(
            f"model: it returns {type(value).__name__}; return a tensor, a mapping or a tuple"
        )


def _several_losses(value: Any, outputs: Outputs) -> UpdateResult:
    """A mapping of losses: its `loss` is the total, else the sum of all."""
    if not isinstance(value, Mapping) or not value:
        raise UserError(
            f"criterion: it returns {type(value).__name__}; return a scalar tensor or a mapping"
        )
    parts = {str(name): part for name, part in value.items() if name != "loss"}
    total = value["loss"] if "loss" in value else sum(parts.values())
    return UpdateResult(total, parts, outputs)
