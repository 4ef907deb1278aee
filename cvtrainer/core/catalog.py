"""The built-in short names of every kind, as literal tables, and the registries users add to.

A table maps a name to "module:Attr"; nothing named here is imported before it is built. Optimizers,
schedulers and losses of torch need no entry: they are found by their own names.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cvtrainer.core.registry import Registry

MODELS = Registry("model", {})
BACKBONES = Registry("backbone", {})
ADAPTERS = Registry("adapter", {})
HEADS = Registry("head", {})
LOSSES = Registry("loss", {})
OPTIMIZERS = Registry("optimizer", {})
SCHEDULERS = Registry("scheduler", {})
DATASETS = Registry(
    "dataset",
    {
        "digits": "cvtrainer.data.datasets.digits:Digits",
        "image_folder": "cvtrainer.data.datasets.image_folder:ImageFolder",
        "picture_world": "cvtrainer.data.datasets.picture_world:PictureWorld",
    },
)
TRANSFORMS = Registry("transform", {})
TENSORIZERS = Registry(
    "tensorizer",
    {
        "box": "cvtrainer.data.tensorizer:BoxTensorizer",
        "image": "cvtrainer.data.tensorizer:ImageTensorizer",
        "index": "cvtrainer.data.tensorizer:IndexTensorizer",
        "keypoint": "cvtrainer.data.tensorizer:KeypointTensorizer",
        "mask": "cvtrainer.data.tensorizer:MaskTensorizer",
        "one_hot": "cvtrainer.data.tensorizer:OneHotTensorizer",
        "scalar": "cvtrainer.data.tensorizer:ScalarTensorizer",
        "tensorizer": "cvtrainer.data.tensorizer:Tensorizer",
    },
)
COLLATES = Registry("collate", {"smart": "cvtrainer.data.collate:collate"})
HOOKS = Registry(
    "hook",
    {
        "checkpoint": "cvtrainer.hooks:CheckpointHook",
        "ddp": "cvtrainer.hooks:DDPHook",
        "ema": "cvtrainer.hooks:EMAHook",
        "logger": "cvtrainer.hooks:LoggerHook",
        "lr_scheduler": "cvtrainer.hooks:LRSchedulerHook",
        "progress_bar": "cvtrainer.hooks:ProgressBarHook",
    },
)
METERS = Registry(
    "meter",
    {
        "accuracy": "cvtrainer.meters:AccuracyMeter",
        "loss": "cvtrainer.meters:LossMeter",
    },
)
LOGGERS = Registry(
    "logger",
    {
        "console": "cvtrainer.logger:ConsoleLogger",
        "file": "cvtrainer.logger:FileLogger",
        "jsonl": "cvtrainer.logger:JsonlLogger",
        "tensorboard": "cvtrainer.logger:TensorBoardLogger",
        "wandb": "cvtrainer.logger:WandBLogger",
    },
)
TASKS = Registry("task", {})

REGISTRIES: Mapping[str, Registry] = MappingProxyType(
    {
        registry.kind: registry
        for registry in (
            MODELS,
            BACKBONES,
            ADAPTERS,
            HEADS,
            LOSSES,
            OPTIMIZERS,
            SCHEDULERS,
            DATASETS,
            TRANSFORMS,
            TENSORIZERS,
            COLLATES,
            HOOKS,
            METERS,
            LOGGERS,
            TASKS,
        )
    }
)
