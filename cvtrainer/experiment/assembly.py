"""The composition root: a resolved config becomes live objects, stage after stage.

Only in this room do the vision half (data, models, losses, meters, tasks) and the engine half
(trainer, hooks, optimizers, loggers) meet. It decides nothing about training; it connects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from cvtrainer.core.catalog import ADDED_HOOKS
from cvtrainer.core.errors import UserError
from cvtrainer.core.schema import FUNCTION_ARGUMENTS
from cvtrainer.core.several_nodes import several_nodes
from cvtrainer.ddp.world import World
from cvtrainer.engine.criteria import Criteria, Criterion
from cvtrainer.engine.prepare import pick_device
from cvtrainer.engine.recorder import MeterEntry
from cvtrainer.engine.stage import OptimizerFactory, StageSettings
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.experiment.aware import round_for_stream, rounding_hooks
from cvtrainer.experiment.building import Builder, Node
from cvtrainer.experiment.data import Data
from cvtrainer.experiment.frozen import fill_frozen
from cvtrainer.experiment.input_size import input_size
from cvtrainer.experiment.per_update import optimizer_per_update
from cvtrainer.experiment.surroundings import Surroundings
from cvtrainer.experiment.task_form import refuse_gaps
from cvtrainer.hooks import DataParallelHook, DDPHook, FSDPHook
from cvtrainer.logger import ConsoleLogger, FileLogger, JsonlLogger
from cvtrainer.meters import LossMeter
from cvtrainer.optim import build_optimizer
from cvtrainer.protocols import Reading, Task, Writer
from cvtrainer.trainer import Trainer


class Experiment:
    """Builds what a config describes; `near` is the config's file, whose folders are searched."""

    def __init__(self, near: Path | None = None) -> None:
        self.builder = Builder(near)
        self.data = Data(self.builder)
        self._build = self.builder.build
        self._target = self.builder.target

    def task(self, stage: Mapping[str, Any]) -> Task:
        """The stage's own task, or supervised training of its model, with a reading or without.

        A task that takes a `task` is one around the supervised one.
        """
        model = self._build(stage["model"]) if stage.get("model") else None
        criterion, bind = self._criterion(stage)
        if not stage.get("task"):
            return _supervised(stage, model, criterion, bind)
        asked: dict[str, Any] = {
            name: part
            for name, part in (("model", model), ("criterion", criterion))
            if part is not None and self.builder.takes(stage["task"], name)
        }
        if self.builder.takes(stage["task"], "task"):
            asked["task"] = _supervised(stage, model, criterion, bind)
        built = self._build(stage["task"], **asked)
        refuse_gaps(built, stage["task"]["type"])
        if hasattr(built, "updates"):
            if model is not None and asked.keys().isdisjoint(("model", "task")):
                raise UserError(
                    f"the task {type(built).__name__} takes none, so nothing would train it",
                    where="model",
                    todo="Leave it out, or take another task.",
                )
            task: Task = built
            return task
        return _supervised(stage, model, criterion, bind, built)

    def fill_weights(self, task: Task, stage: Mapping[str, Any], around: Surroundings) -> None:
        """The weights that networks ask for: those that only answer always, others at first."""
        first = self.builder.first_weights
        first.fill(getattr(task, "frozen", {}), stage, around)
        fill_frozen(task, around.left_by)
        if around.begins:
            first.fill(task.networks, stage, around)

    def _criterion(
        self, stage: Mapping[str, Any]
    ) -> tuple[nn.Module | None, Mapping[str, str] | None]:
        """The criterion with its binding, or several, which know theirs."""
        parts: dict[str, Criterion] = {}
        for path, node in several_nodes(stage, "criterion"):
            built = self._build(node)
            module = built if isinstance(built, nn.Module) else _FunctionLoss(built)
            given = node.get("factor")
            factor = 1.0 if given is None else float(given)
            part = Criterion(module, factor, node.get("bind"))
            if len(path) == 1 and factor == 1.0:
                return module, part.bind
            parts[str(path[-1])] = part
        return (Criteria(parts), None) if parts else (None, None)

    def optimizers(self, stage: Mapping[str, Any], task: Task) -> OptimizerFactory | None:
        """Makes the optimizers once the networks are in their final form, one per update."""
        nodes = optimizer_per_update(stage, task)
        if not nodes:
            return None

        def make(networks: Mapping[str, nn.Module]) -> Mapping[str, Optimizer]:
            made: dict[str, Optimizer] = {}
            for update in task.updates():
                node, named = nodes[update.name], {one: networks[one] for one in update.networks}
                made[update.name] = build_optimizer(
                    next(iter(named.values())) if len(named) == 1 else nn.ModuleDict(named),
                    self._target(node["type"]),
                    node.get("kwargs") or {},
                    node.get("layerwise") or {},
                    node.get("groups"),
                )
            return made

        return make

    def writers(self, stage: Mapping[str, Any]) -> list[Writer]:
        """The stage's loggers; what a run folder must hold is added where no logger writes it."""
        writers: list[Writer] = [self._build(node) for node in stage.get("logger") or []]
        if not writers:
            writers.append(ConsoleLogger())
        for kind in (FileLogger, JsonlLogger):
            if not any(isinstance(writer, kind) for writer in writers):
                writers.append(kind())
        return writers

    def hooks(self, stage: Mapping[str, Any], world: World) -> list[Any]:
        """The stage's hooks under their names; logging, checkpoints and DDP are never forgotten."""
        hooks: list[Any] = rounding_hooks(stage)
        hooks += [self._hook(node) for node in stage.get("hooks") or []]
        for node in ADDED_HOOKS:
            if not any(isinstance(hook, self._target(node["type"])) for hook in hooks):
                hooks.append(self._hook(node))
        kinds = (DDPHook, FSDPHook) if world.world_size > 1 else (DataParallelHook,)
        if not any(isinstance(hook, kinds) for hook in hooks):
            hooks += _spreading(stage["ddp"]["strategy"], world)
        for hook in hooks:
            if isinstance(hook, DDPHook):
                hook.find_unused_parameters |= stage["ddp"]["find_unused_parameters"]
            if isinstance(hook, DDPHook | FSDPHook):
                hook.sync_batchnorm |= stage["ddp"]["sync_batchnorm"]
        return hooks

    def _hook(self, node: Node) -> Any:
        hook = self._build({**node, "kwargs": self._with_classes(node.get("kwargs") or {})})
        hook.name = node["name"]
        return hook

    def _with_classes(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What is named by its path is handed over as what it names: classes and functions."""
        return {key: self._named(key, value) for key, value in arguments.items()}

    def _named(self, key: str, value: Any) -> Any:
        """The value of a `<kind>_type` or of an argument that is a function, at any depth."""
        if isinstance(value, str):
            path = (key.endswith("_type") or key in FUNCTION_ARGUMENTS) and {".", ":"} & set(value)
            return self._target(value) if path else value
        if isinstance(value, list):
            return [self._named(key, part) for part in value]
        if isinstance(value, Mapping):
            return {inner: self._named(inner, part) for inner, part in value.items()}
        return value

    def meters(self, stage: Mapping[str, Any]) -> list[MeterEntry]:
        """The stage's meters with their binds and phases; the loss alone where none is named."""
        entries = [
            MeterEntry(
                name=node["name"],
                meter=self._build(node),
                bind=node.get("bind") or {},
                phases=tuple(node.get("phases") or ()),
                prefix=node.get("prefix") or "",
            )
            for node in stage.get("meters") or []
        ]
        return entries or [MeterEntry("loss", LossMeter())]

    def trainer(self, stage: Mapping[str, Any], around: Surroundings) -> Trainer:
        """Everything of one stage, connected. Parts are made before data is opened."""
        torch.manual_seed(around.seed)
        task = self.task(stage)
        hooks = around.adapt_hooks([*self.hooks(stage, around.world), *around.more_hooks])
        meters = self.meters(stage)
        optimizer = None
        if "train" in around.phases:
            self.fill_weights(task, stage, around)
            optimizer = self.optimizers(stage, task)
        device = pick_device(around.device, around.world.local_rank)
        every = stage["eval_every"]
        streams = around.adapt_streams(self.data.streams(stage, around))
        round_for_stream(task, stage, streams, device)
        inner = getattr(task, "task", task)
        if around.classes and isinstance(inner, SupervisedTask):
            inner.know_classes(around.classes)
        return Trainer(
            task,
            None,
            optimizer,
            streams,
            hooks=hooks,
            meters=meters,
            settings=StageSettings(
                name=stage["name"],
                device=device,
                eval_epochs=every.get("epochs"),
                eval_steps=every.get("steps"),
                max_steps=stage["max_steps"],
                world=around.world,
                writers=around.writers,
                checkpoints=around.checkpoints,
                facts={
                    "classes": around.classes,
                    "learnt": around.learnt,
                    "input_size": input_size(stage, streams),
                },
            ),
            run=around.run,
        )


def _supervised(
    stage: Mapping[str, Any],
    model: object,
    criterion: nn.Module | Criteria | None,
    bind: Mapping[str, str] | None,
    reading: Reading | None = None,
) -> SupervisedTask:
    node = stage.get("model")
    if node is None:
        raise UserError("the task needs one and there is none", where="model")
    if not isinstance(model, nn.Module):
        raise UserError(f"model: {node['type']} gives no torch module")
    return SupervisedTask(
        model,
        criterion,
        outputs=node.get("outputs") or (),
        bind_model=node.get("bind"),
        bind_criterion=bind,
        reading=reading,
    )


def _spreading(strategy: str, world: World) -> list[DDPHook | FSDPHook | DataParallelHook]:
    """What spreads networks over devices where the config lists no such hook."""
    if world.world_size == 1:
        return [DataParallelHook()] if strategy == "dp" else []
    if strategy == "fsdp":
        return [FSDPHook()]
    return [DDPHook(find_unused_parameters=strategy == "ddp_find_unused_parameters_true")]


class _FunctionLoss(nn.Module):
    """A loss written as a plain callable object."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.forward = function
