"""The typed skeleton of a config: every key that is not an argument of somebody's class.

One table per section says the key, what may stand there, its default, its unit and what it is for.
The checker, the normal form, the documentation and the editors' JSON schema all read these tables.
What a node's arguments may be is not written here: the target's own signature says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any


class Form(Enum):
    """What may stand at a key."""

    TEXT = "text"
    INT = "int"
    NUMBER = "number"
    BOOL = "bool"
    DEVICE = "device"
    DURATION = "duration"
    SHARE = "share"
    RATE = "rate"
    TEXTS = "texts"
    MAPPING = "mapping"
    WEIGHTS = "weights"
    NODE = "node"
    NODES = "nodes"
    SECTION = "section"
    SECTIONS = "sections"


@dataclass(frozen=True)
class Key:
    """One key of a section; `of` is the kind of its nodes or the name of its section.

    Where a section may be written as a bare word, `word` is the key that it stands for; a `switch`
    may be true or false.
    """

    name: str
    form: Form
    doc: str
    default: Any = None
    of: str = ""
    unit: str = ""
    minimum: float | None = None
    choices: tuple[str, ...] = ()
    word: str = ""
    switch: bool = False


Section = Mapping[str, Key]


def _section(*keys: Key) -> Section:
    return MappingProxyType({key.name: key for key in keys})


RUN = _section(
    Key("project", Form.TEXT, "Groups runs; by default the name of the config's folder."),
    Key("name", Form.TEXT, "Name of the run; by default the config file's name."),
    Key("seed", Form.INT, "Start of every random draw.", 0, minimum=0),
    Key("device", Form.DEVICE, "Where to compute: auto, cpu, cuda, cuda:1, mps.", "auto"),
    Key("deterministic", Form.BOOL, "Use only deterministic algorithms.", False),
    Key("dir", Form.TEXT, "A fixed run folder instead of runs/<project>/<name>_<time>."),
    Key("resume", Form.TEXT, "What to go on from: auto, a checkpoint or a run folder."),
    Key("resume_lr", Form.RATE, "After a resume: keep, initial, or a learning rate.", "keep"),
    Key("scan", Form.TEXTS, "Folders in which classes are found by their bare name."),
    Key("stages", Form.SECTIONS, "Run in this order.", of="stage"),
)

STAGE = _section(
    Key("name", Form.TEXT, "Unique name of the stage, used in logs and checkpoints."),
    Key("epochs", Form.INT, "Times through the training data.", 100, unit="epochs", minimum=0),
    Key("max_steps", Form.INT, "Ends the stage earlier.", unit="optimizer steps", minimum=1),
    Key("eval_every", Form.DURATION, "How often to evaluate: 1 or 0.5 (epochs), 500st (steps).", 1),
    Key("init_from", Form.SECTION, "Weights to start from.", of="init_from", word="source"),
    Key("task", Form.NODE, "What a batch means; by default supervised training.", of="task"),
    Key("model", Form.NODE, "The network.", of="model"),
    Key("criterion", Form.NODE, "The loss.", of="loss"),
    Key("optimizer", Form.NODE, "Needed for training.", of="optimizer"),
    Key("dataloader", Form.SECTION, "Data of train, val and test.", of="dataloader"),
    Key("logger", Form.NODES, "Where log records go.", of="logger"),
    Key("hooks", Form.NODES, "Techniques, called in this order within their rank.", of="hook"),
    Key("meters", Form.NODES, "What is measured.", of="meter"),
    Key("ddp", Form.SECTION, "Several processes.", of="ddp", switch=True),
    Key("deploy", Form.SECTION, "The best is the best artefact.", of="deploy", word="target"),
    Key(
        "quantise",
        Form.SECTION,
        "Train with 8-bit rounding.",
        of="quantise",
        word="method",
        switch=True,
    ),
    Key("checkpoint", Form.TEXT, "A checkpoint file to evaluate."),
    Key("eval_split", Form.TEXT, "The split to evaluate.", "val", choices=("train", "val", "test")),
)

INIT_FROM = _section(
    Key("source", Form.TEXT, "previous, the name of an earlier stage, or a file."),
    Key("strict", Form.BOOL, "Whether all weights must fit.", True),
    Key("networks", Form.MAPPING, "Network of the stage: network of the source."),
    Key("remove_prefix", Form.TEXTS, "Taken off the names of the source, the first that fits."),
    Key("add_prefix", Form.TEXT, "Put before the names of the source."),
    Key("rename", Form.MAPPING, "Beginning of a name in the source: what it is called here."),
    Key("only", Form.TEXTS, "Parts of the network to fill: backbone, or a pattern with *."),
    Key("skip", Form.TEXTS, "Parts of the network to leave as they were initialised."),
    Key("averaged", Form.BOOL, "The average (EMA, SWA) or not; by default where there is one."),
    Key("convert_stem", Form.BOOL, "Fit a first convolution to other input channels.", False),
)

PRETRAINED = _section(
    Key("source", Form.TEXT, "A file, the folder of a run, or an earlier stage."),
    Key("strict", Form.BOOL, "Whether all weights must fit.", False),
    *(INIT_FROM[word] for word in ("remove_prefix", "add_prefix", "rename", "only", "skip")),
    INIT_FROM["averaged"],
    Key("convert_stem", Form.BOOL, "Fit a first convolution to other input channels.", True),
)

DATALOADER = _section(
    Key("train", Form.SECTION, "Needed for training.", of="split"),
    Key("val", Form.SECTION, "Left out: no evaluation while training.", of="split"),
    Key("test", Form.SECTION, "Used by eval on request.", of="split"),
)

SPLIT = _section(
    Key("dataset", Form.NODE, "With data_path alone the format is detected.", of="dataset"),
    Key("split", Form.NODE, "Which part of the data set: by ratio, group or fold.", of="split"),
    Key("sampler", Form.NODE, "Order of an epoch; by default shuffled or not.", of="sampler"),
    Key("decode", Form.NODE, "How image files are read.", of="decode"),
    Key("cache", Form.NODE, "Keeps decoded pictures: ram or packed.", of="cache"),
    Key("max_bad", Form.SHARE, "Unusable samples above this share end the run.", 0.01),
    Key("transforms", Form.SECTION, "Image to image.", of="transforms"),
    Key("mixers", Form.NODES, "Mix the samples of a batch.", of="mixer"),
    Key("tensorizer", Form.NODE, "Fields to tensors.", of="tensorizer"),
    Key("device_steps", Form.NODES, "Done to a batch on the device.", of="device_step"),
    Key("dataloader_args", Form.MAPPING, "How batches are made.", of="loader"),
)

TRANSFORMS = _section(
    Key("backend", Form.TEXT, "Library that computes them.", "albumentations"),
    Key("transforms", Form.NODES, "Applied in this order.", of="transform"),
)

STRATEGIES = ("ddp", "ddp_find_unused_parameters_true", "fsdp", "dp")
"""Ways to spread networks over devices; the second is the first for models that skip parts."""

DDP = _section(
    Key("enabled", Form.BOOL, "Train in several processes.", False),
    Key("num_gpus", Form.INT, "Processes on this machine.", 1, minimum=1),
    Key("strategy", Form.TEXT, "How networks are spread.", "ddp", choices=STRATEGIES),
    Key("find_unused_parameters", Form.BOOL, "For models that skip parts.", False),
    Key("sync_batchnorm", Form.BOOL, "Statistics of BatchNorm over all processes.", False),
    Key("max_restarts", Form.INT, "New starts of all processes after a failure.", 0, minimum=0),
    Key("stuck_after", Form.INT, "So long without progress ends it.", unit="seconds", minimum=1),
)

CALIBRATORS = ("mse", "max", "percentile", "entropy")

DEPLOY = _section(
    Key("target", Form.TEXT, "What the artefact is for; it must run here.", "onnx"),
    Key("precision", Form.TEXT, "Of its numbers.", "int8"),
    Key("max_drop", Form.NUMBER, "How much worse a metric may be; else each has its own limit."),
    Key("max_latency_ms", Form.NUMBER, "A picture's median on this host.", unit="milliseconds"),
    Key("max_size_kb", Form.NUMBER, "Of the artefact.", unit="1024 bytes"),
    Key("max_peak_ram_kb", Form.NUMBER, "Of activations, as planned.", unit="1024 bytes"),
    Key("every", Form.DURATION, "How often: 5ep, 500st; with the next evaluation.", 1),
    Key("calibrator", Form.TEXT, "Finds ranges of 8-bit numbers.", "mse", choices=CALIBRATORS),
    Key("sample", Form.INT, "Training pictures to calibrate on.", 256, minimum=1),
    Key("subset", Form.INT, "Samples of the split to measure; by default all.", minimum=1),
)

QUANTIZERS = ("torchao", "modelopt")

QUANTISE = _section(
    Key(
        "quantizer", Form.TEXT, "Who rounds; for TensorRT modelopt.", "torchao", choices=QUANTIZERS
    ),
    Key("method", Form.TEXT, "Finds the first ranges.", "max", choices=CALIBRATORS),
    Key("num_batches", Form.INT, "Training batches for that; null: all.", 16, minimum=1),
    Key("freeze_ranges", Form.DURATION, "Ranges follow training for so long.", "50%"),
    Key("freeze_batch_norm", Form.DURATION, "So do statistics of BatchNorm.", "50%"),
    Key("symmetric", Form.BOOL, "Zero points of activations are zero, too.", False),
    Key("float", Form.TEXTS, "Parts of the network that stay float."),
)

SECTIONS: Mapping[str, Section] = MappingProxyType(
    {
        "run": RUN,
        "stage": STAGE,
        "init_from": INIT_FROM,
        "pretrained": PRETRAINED,
        "dataloader": DATALOADER,
        "split": SPLIT,
        "transforms": TRANSFORMS,
        "ddp": DDP,
        "deploy": DEPLOY,
        "quantise": QUANTISE,
    }
)

ALIASES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "run": {"vars": "values that other places refer to"},
        "stage": {
            "model_args": "arguments of a model written as a bare name",
            "criterion_args": "arguments of a criterion written as a bare name",
        },
    }
)
"""Spellings that the normal form does not have, per section."""

NODE_WORDS: Mapping[str, Key] = _section(
    Key("name", Form.TEXT, "Unique name of the entry."),
    Key("type", Form.TEXT, "Import path, file.py:Class, or a short name."),
    Key("kwargs", Form.MAPPING, "Arguments."),
    Key("bind", Form.MAPPING, "Which batch field each parameter gets."),
    Key("outputs", Form.TEXTS, "Names for what is returned."),
    Key("phases", Form.TEXTS, "Phases in which it is active."),
    Key("enabled", Form.BOOL, "false leaves it out.", True),
    Key("template", Form.TEXT, "A file to start from."),
)
"""Words that belong to a node itself; everything else beside `type` is an argument."""

BOUND_KINDS = ("model", "loss", "meter")
ACTING_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"bind": BOUND_KINDS, "outputs": ("model",), "phases": ("meter",)}
)
"""Words of a node that mean something for these kinds only."""
BINDING_ALIASES: Mapping[str, str] = MappingProxyType({"mapping": "bind", "output_keys": "outputs"})
"""Other words for what fields go in and what comes out, understood beside `type` of these kinds."""

OPTIMIZER_WORDS: Mapping[str, Key] = _section(
    Key("layerwise", Form.MAPPING, "Learning rate per part of the model."),
    Key("groups", Form.MAPPING, "layer_decay, no_decay (norm, bias), bias_lr."),
)

LOSS_WORDS: Mapping[str, Key] = _section(
    Key("factor", Form.NUMBER, "Its value counts so many times.", 1.0),
)

METER_WORDS: Mapping[str, Key] = _section(
    Key("prefix", Form.TEXT, "Goes before the names of its metrics."),
)

NETWORK_WORDS: Mapping[str, Key] = _section(
    Key("pretrained", Form.WEIGHTS, "First weights: a file, a run's folder, or true: published."),
)

EVALUATION_KEYS = ("checkpoint", "eval_split")
"""A stage in which one of these is written need not be able to train."""

RUNTIME_ARGUMENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "optimizer": ("params",),
        "scheduler": ("optimizer",),
        "task": ("model", "criterion", "task"),
        "cache": ("decoding",),
    }
)
"""Arguments that the framework supplies, so that a config need not."""

FILLED_ARGUMENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"scheduler": ("T_max", "total_steps"), "split": ("part",)}
)
"""Arguments that are filled in where a config leaves them out: the length of the run, the phase."""

FUNCTION_ARGUMENTS = ("lr_lambda", "scale_fn")
"""Arguments of schedules that are functions, named by their import path, one or a list."""

DEFAULT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "split": "cvtrainer.data.splits:Split",
        "decode": "cvtrainer.data.decode:Decoding",
    }
)
"""Types of nodes that need not name one."""

NAMED_KINDS = ("hook", "meter", "logger")
"""Kinds whose entries have unique names."""


_WORDS_OF_KIND: Mapping[str, Mapping[str, Key]] = MappingProxyType(
    {
        "optimizer": OPTIMIZER_WORDS,
        "loss": LOSS_WORDS,
        "meter": METER_WORDS,
        "model": NETWORK_WORDS,
        "backbone": NETWORK_WORDS,
    }
)


def node_words(kind: str) -> Mapping[str, Key]:
    """The reserved words of a node of this kind."""
    return {**NODE_WORDS, **_WORDS_OF_KIND.get(kind, {})}
