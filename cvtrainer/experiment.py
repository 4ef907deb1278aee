"""The composition root: a resolved config becomes live objects, stage after stage.

Only this file turns "module:attr" into objects, and only here do the vision half (data, models,
losses, meters, tasks) and the engine half (trainer, hooks, optimizers, loggers) meet. It decides
nothing about training; it connects.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from cvtrainer.core.catalog import ADDED_HOOKS
from cvtrainer.core.errors import UserError
from cvtrainer.core.locate import import_target
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.core.suggest import nearest
from cvtrainer.data.stream import LoaderOptions, LoaderStream
from cvtrainer.data.transforms import Transforms
from cvtrainer.ddp.world import World
from cvtrainer.engine.prepare import pick_device
from cvtrainer.engine.recorder import MeterEntry
from cvtrainer.engine.stage import OptimizerFactory, StageSettings
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.hooks import DDPHook
from cvtrainer.logger import ConsoleLogger, FileLogger, JsonlLogger
from cvtrainer.meters import LossMeter
from cvtrainer.optim import build_optimizer
from cvtrainer.protocols import Task, Writer
from cvtrainer.trainer import Trainer

Node = Mapping[str, Any]
PHASES = ("train", "val", "test")


@dataclass
class Surroundings:
    """What a stage does not decide itself: its run, its place among processes, the class map."""

    run: RunFolder | None
    world: World
    seed: int = 0
    device: str = "auto"
    classes: Sequence[str] | None = None
    phases: Sequence[str] = PHASES
    writers: Sequence[Writer] = field(default_factory=tuple)
    checkpoints: Path = Path("checkpoints")


class Experiment:
    """Builds what a config describes; `near` is the config's file, whose folders are searched."""

    def __init__(self, near: Path | None = None) -> None:
        self._near = near

    def _target(self, text: str) -> Any:
        return import_target(text, near=self._near)

    def build(self, node: Node, **given: Any) -> Any:
        """Import the node's type and call it with its arguments; nested nodes are built first."""
        target = self._target(node["type"])
        arguments = {key: self.value(value) for key, value in node.get("kwargs", {}).items()}
        _refuse_unknown_arguments(target, node["type"], {**given, **arguments})
        return target(**given, **arguments)

    def value(self, value: Any) -> Any:
        """A value of the config with every node in it built."""
        if isinstance(value, Mapping):
            if isinstance(value.get("type"), str):
                return self.build(value)
            return {key: self.value(part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(part) for part in value]
        return value

    def task(self, stage: Mapping[str, Any]) -> Task:
        """The stage's own task, or supervised training of its model."""
        model = self.build(stage["model"]) if stage.get("model") else None
        criterion_node = stage.get("criterion") or {}
        criterion = self.build(criterion_node) if criterion_node else None
        if stage.get("task"):
            given = {"model": model, "criterion": criterion}
            task: Task = self.build(
                stage["task"], **{name: part for name, part in given.items() if part is not None}
            )
            return task
        if not isinstance(model, nn.Module):
            raise UserError(f"model: {stage['model']['type']} gives no torch module")
        if criterion is not None and not isinstance(criterion, nn.Module):
            criterion = _FunctionLoss(criterion)
        return SupervisedTask(
            model,
            criterion,
            outputs=stage["model"].get("outputs") or (),
            bind_model=stage["model"].get("bind"),
            bind_criterion=criterion_node.get("bind"),
        )

    def streams(self, stage: Mapping[str, Any], around: Surroundings) -> dict[str, LoaderStream]:
        """A stream per split that the stage has and the job asks for; one class map for all."""
        streams: dict[str, LoaderStream] = {}
        classes = around.classes
        for phase in around.phases:
            split = (stage.get("dataloader") or {}).get(phase)
            if not split:
                continue
            dataset = self.build(split["dataset"], **self._class_map(split["dataset"], classes))
            if classes is None:
                classes = getattr(dataset, "classes", None)
            tensorizer = split.get("tensorizer")
            streams[phase] = LoaderStream(
                dataset,
                self.transforms(split),
                self.build(tensorizer) if tensorizer else None,
                seed=around.seed,
                options=self._loader_options(split.get("dataloader_args") or {}),
                training=phase == "train",
            )
        return streams

    def transforms(self, split: Mapping[str, Any]) -> Transforms | None:
        """The split's transforms; names belong to the back end, import paths are built here."""
        written = split.get("transforms")
        if not written:
            return None
        items = [
            self.build(node) if _is_import_path(node["type"]) else node
            for node in written["transforms"] or ()
        ]
        return Transforms(written["backend"], items)

    def _class_map(self, node: Node, classes: Sequence[str] | None) -> dict[str, Any]:
        """Training's class map for a data set that takes one and was not given another."""
        if classes is None or "classes" in node.get("kwargs", {}):
            return {}
        try:
            parameters = inspect.signature(self._target(node["type"])).parameters
        except (TypeError, ValueError):
            return {}
        return {"classes": list(classes)} if "classes" in parameters else {}

    def _loader_options(self, words: Mapping[str, Any]) -> LoaderOptions:
        collate = words.get("collate_fn")
        ready = (
            {**words, "collate_fn": self._target(collate)} if isinstance(collate, str) else words
        )
        return LoaderOptions.from_mapping(ready)

    def optimizers(self, stage: Mapping[str, Any], task: Task) -> OptimizerFactory | None:
        """Makes the optimizers once the networks are in their final form, one per update."""
        node = stage.get("optimizer")
        if not node:
            return None

        def make(networks: Mapping[str, nn.Module]) -> Mapping[str, Optimizer]:
            made: dict[str, Optimizer] = {}
            for update in task.updates():
                trained = [networks[name] for name in update.networks]
                made[update.name] = build_optimizer(
                    trained[0] if len(trained) == 1 else nn.ModuleList(trained),
                    self._target(node["type"]),
                    node.get("kwargs") or {},
                    node.get("layerwise") or {},
                )
            return made

        return make

    def writers(self, stage: Mapping[str, Any]) -> list[Writer]:
        """The stage's loggers; what a run folder must hold is added where no logger writes it."""
        writers: list[Writer] = [self.build(node) for node in stage.get("logger") or []]
        if not writers:
            writers.append(ConsoleLogger())
        for kind in (FileLogger, JsonlLogger):
            if not any(isinstance(writer, kind) for writer in writers):
                writers.append(kind())
        return writers

    def hooks(self, stage: Mapping[str, Any], world: World) -> list[Any]:
        """The stage's hooks under their names; logging, checkpoints and DDP are never forgotten."""
        hooks: list[Any] = [self._hook(node) for node in stage.get("hooks") or []]
        for node in ADDED_HOOKS:
            if not any(isinstance(hook, self._target(node["type"])) for hook in hooks):
                hooks.append(self._hook(node))
        if world.world_size > 1 and not any(isinstance(hook, DDPHook) for hook in hooks):
            hooks.append(DDPHook())
        for hook in hooks:
            if isinstance(hook, DDPHook):
                hook.find_unused_parameters |= stage["ddp"]["find_unused_parameters"]
                hook.sync_batchnorm |= stage["ddp"]["sync_batchnorm"]
        return hooks

    def _hook(self, node: Node) -> Any:
        hook = self.build({**node, "kwargs": self._with_classes(node.get("kwargs") or {})})
        hook.name = node["name"]
        return hook

    def _with_classes(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """An argument pair `<kind>_type`, `<kind>_kwargs` names a class: hand the class over."""
        return {
            key: self._target(value)
            if key.endswith("_type") and isinstance(value, str) and {".", ":"} & set(value)
            else value
            for key, value in arguments.items()
        }

    def meters(self, stage: Mapping[str, Any]) -> list[MeterEntry]:
        """The stage's meters with their binds and phases; the loss alone where none is named."""
        entries = [
            MeterEntry(
                name=node["name"],
                meter=self.build(node),
                bind=node.get("bind") or {},
                phases=tuple(node.get("phases") or ()),
            )
            for node in stage.get("meters") or []
        ]
        return entries or [MeterEntry("loss", LossMeter())]

    def trainer(self, stage: Mapping[str, Any], around: Surroundings) -> Trainer:
        """Everything of one stage, connected. Parts are made before data is opened."""
        torch.manual_seed(around.seed)
        task = self.task(stage)
        hooks = self.hooks(stage, around.world)
        meters = self.meters(stage)
        optimizer = self.optimizers(stage, task) if "train" in around.phases else None
        device = pick_device(around.device, around.world.local_rank)
        every = stage["eval_every"]
        streams = self.streams(stage, around)
        if around.classes is None:
            around.classes = class_names(streams)
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
                facts={"classes": around.classes},
            ),
            run=around.run,
        )


def _is_import_path(name: str) -> bool:
    """Whether a transform is the user's own class rather than a name the back end knows."""
    library = name.partition(".")[0]
    return ("." in name or ":" in name) and library not in ("albumentations", "torchvision")


def _refuse_unknown_arguments(
    target: Callable[..., Any], name: str, arguments: Mapping[str, Any]
) -> None:
    """What could not be checked from source is checked here, before any data is opened."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    for argument in arguments:
        if argument not in parameters:
            near = nearest(argument, parameters)
            todo = f"Did you mean {near}?" if near else f"It takes {', '.join(parameters)}."
            raise UserError(f"{name} takes no argument {argument!r}", todo=todo)


class _FunctionLoss(nn.Module):
    """A loss written as a plain callable object."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.forward = function


def class_names(streams: Mapping[str, LoaderStream]) -> list[str] | None:
    """The class-to-index map that training uses, where its data set has one."""
    for stream in streams.values():
        names = getattr(stream.dataset, "classes", None)
        if names is not None:
            return [str(name) for name in names]
    return None
