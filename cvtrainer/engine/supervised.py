"""The default task: one network, one criterion or several, one update named `main`.

It normalises what a network returns into named outputs. How fields reach the network's parameters
is `binding.py`'s business, found out on the first batch of a form and reused from then on; what the
outputs are compared with is `criteria.py`'s, and what they mean is told by the task's reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.binding import (
    Arguments,
    compile_arguments,
    form_of,
    input_fields,
    leaf_keys,
)
from cvtrainer.engine.class_numbers import declared_numbers, refuse_more_names
from cvtrainer.engine.criteria import Criteria, Criterion
from cvtrainer.engine.target_looks import Looks, box_fields
from cvtrainer.engine.weights import load_weights
from cvtrainer.protocols import Batch, Outputs, Reading, State, UpdateResult


class SupervisedTask:
    """Also its own single update: `compute` is one forward pass and one loss."""

    name = "main"
    networks: Mapping[str, nn.Module]
    every = 1

    def __init__(
        self,
        model: nn.Module,
        criterion: nn.Module | Criteria | None = None,
        *,
        outputs: Sequence[str] = (),
        bind_model: Mapping[str, str] | None = None,
        bind_criterion: Mapping[str, str] | None = None,
        reading: Reading | None = None,
    ) -> None:
        self.networks = {"model": model}
        self.criterion = criterion
        self.reading = reading
        self._model: nn.Module = model
        self._signature = model.forward
        self._output_names = tuple(outputs)
        self._bind_model = bind_model
        self._model_arguments: dict[tuple[str, ...], Arguments] = {}
        self._looks: dict[tuple[str, ...], Looks] = {}
        self._class_names: Sequence[str] = ()
        self._single = (
            None
            if criterion is None or isinstance(criterion, Criteria)
            else Criterion(criterion, bind=bind_criterion)
        )

    def updates(self) -> Sequence[SupervisedTask]:
        return (self,)

    def replace(self, networks: Mapping[str, nn.Module]) -> None:
        self._model = networks["model"]

    def evaluate(self, batch: Batch) -> UpdateResult:
        """As in training; outputs are also read, so that meters see what they mean."""
        result = self.compute(batch)
        if self.reading is None:
            return result
        return result._replace(outputs={**result.outputs, **self.reading.decode(result.outputs)})

    def compute(self, batch: Batch) -> UpdateResult:
        outputs = self._outputs_of(batch)
        if self._single is not None:
            return UpdateResult(*self._single.compare(batch, outputs, "criterion"), outputs)
        if isinstance(self.criterion, Criteria):
            return UpdateResult(*self.criterion.compare(batch, outputs), outputs)
        raise UserError("criterion: this stage has none, so there is no loss; name one")

    def _outputs_of(self, batch: Batch, network: nn.Module | None = None) -> Outputs:
        form = form_of(batch)
        arguments = self._model_arguments.get(form)
        if arguments is None:
            arguments = self._bind_inputs(batch)
            looks = self._looked_at(arguments, batch)
            if any(looks):  # most models take no targets, and each batch would be asked
                self._looks[form] = looks
            self._model_arguments[form] = arguments
        try:
            given = arguments.call(self._model if network is None else network, batch)
        except UserError:
            self._looks.get(form, Looks()).refuse("model", batch)  # it knows the sample
            raise
        return self._named_outputs(given)

    def _looked_at(self, arguments: Arguments, batch: Batch) -> Looks:
        """What the model says of targets that it takes itself; the batch is looked at."""
        model = self.networks["model"]
        numbers = declared_numbers(model, arguments.keys, batch)
        found = Looks(numbers, box_fields(model, arguments.keys, batch))
        found.refuse("model", batch)
        refuse_more_names("model", numbers, self._class_names)
        return found

    def outputs_with(self, network: nn.Module, batch: Batch) -> Outputs:
        """What another network makes of the same fields."""
        return self._outputs_of(batch, network)

    def know_classes(self, names: Sequence[str]) -> None:
        """The data's classes, which the model must have scores for."""
        self._class_names = names
        parts = self.criterion.parts.values() if isinstance(self.criterion, Criteria) else ()
        for one in (*parts, *([self._single] if self._single is not None else ())):
            one.class_names = names

    def refuse_unknown(self, batch: Batch) -> None:
        """Look for class numbers that there is no score for, and for boxes that end before they
        begin, in a batch of a form seen before."""
        if self._looks:
            self._looks.get(form_of(batch), Looks()).refuse("model", batch)
        if self._single is not None:
            self._single.refuse_unknown(batch, "criterion")
        elif isinstance(self.criterion, Criteria):
            self.criterion.refuse_unknown(batch)

    def state_dict(self) -> State:
        """What the criterion keeps: running values, weights of its own."""
        return {} if self.criterion is None else self.criterion.state_dict()

    def load_state_dict(self, state: State) -> None:
        if self.criterion is not None:
            load_weights(self.criterion, state, source="criterion")

    def predict(self, batch: Batch) -> Outputs:
        """Outputs and what they mean; needs neither targets nor a criterion."""
        outputs = self._outputs_of(batch)
        return outputs if self.reading is None else {**outputs, **self.reading.decode(outputs)}

    def _bind_inputs(self, batch: Batch) -> Arguments:
        return compile_arguments(
            self._signature,
            who="model",
            named={name: key for name, key in leaf_keys(batch).items() if name != "target"},
            spare=list(input_fields(batch)),
            bind=self._bind_model,
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
