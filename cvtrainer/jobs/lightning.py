"""A stage of a config as a LightningModule: the same parts, trained by somebody else's loop.

For those who have a Lightning project, and as an independent check of our own loop: with the same
config both give the same losses (tests/jobs/test_lightning.py). Accumulation, clipping, precision
and schedules become words for Lightning's Trainer; what it has no word for is in `left_out`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.ddp.world import World
from cvtrainer.engine.plan import Plan
from cvtrainer.engine.prepare import pick_device
from cvtrainer.engine.randomness import seed_everything
from cvtrainer.experiment import Experiment, Surroundings
from cvtrainer.hooks import AccumulateHook, AMPHook, ClipGradientsHook, LRSchedulerHook
from cvtrainer.hooks.logger import LoggerHook
from cvtrainer.jobs.train import Config
from cvtrainer.optim.schedules import Length

if TYPE_CHECKING:
    from cvtrainer.jobs.lightning_module import EpochLoader, StageModule

_CARRIED = (AccumulateHook, AMPHook, ClipGradientsHook, LRSchedulerHook, LoggerHook)


@dataclass(frozen=True)
class LightningStage:
    """`Trainer(**trainer_words).fit(module, train_loader, val_loader)` trains the stage."""

    module: StageModule
    train_loader: EpochLoader
    val_loader: EpochLoader | None
    trainer_words: Mapping[str, Any]
    left_out: tuple[str, ...]
    """Hooks of the config that are not carried over; Lightning has callbacks for some of them."""


def lightning_stage(
    config: Config, *, stage: str | None = None, overrides: Sequence[str] = ()
) -> LightningStage:
    """One stage of a config, the only one unless it is named; it begins with fresh weights."""
    try:
        from cvtrainer.jobs.lightning_module import EpochLoader, StageModule
    except ModuleNotFoundError as error:
        if error.name not in ("pytorch_lightning", "lightning_fabric"):
            raise
        raise UserError(
            "pytorch-lightning is not installed", todo='Run: pip install "cvtrainer[lightning]"'
        ) from error
    compiled = compile_config(config, overrides)
    run = compiled.resolved
    chosen = _chosen(run["stages"], stage)
    around = Surroundings(run=None, world=World(), seed=run["seed"], phases=("train", "val"))
    seed_everything(run["seed"], deterministic=run["deterministic"])
    experiment = Experiment(compiled.path)
    task = experiment.task(chosen)
    experiment.fill_weights(task, chosen, around)
    hooks = experiment.hooks(chosen, around.world)
    plan = Plan(pick_device(run["device"]))
    for hook in hooks:
        if isinstance(hook, AccumulateHook | AMPHook):
            hook.configure(plan)
    clip = next((hook for hook in hooks if isinstance(hook, ClipGradientsHook)), None)
    schedulers = [hook for hook in hooks if isinstance(hook, LRSchedulerHook)]
    _refuse_what_differs(plan, clip, schedulers, len(task.updates()))
    streams = experiment.data.streams(chosen, around)
    factory = experiment.optimizers(_without_fused(chosen, experiment, plan, clip), task)
    if factory is None or "train" not in streams:
        raise UserError("to train it needs an `optimizer` and `dataloader.train`", where="stage")
    length = _length(chosen, -(-len(streams["train"]) // plan.accumulate))
    module = StageModule(task, factory, schedulers, length, streams)
    train_loader = EpochLoader(streams["train"])
    train_loader.epoch = lambda: module.current_epoch + 1
    return LightningStage(
        module,
        train_loader,
        EpochLoader(streams["val"]) if "val" in streams else None,
        _trainer_words(chosen, run, plan, clip, length),
        (
            *(str(hook.name) for hook in hooks if not isinstance(hook, _CARRIED)),
            *(["deploy"] if chosen.get("deploy") else []),
        ),
    )


def _length(stage: Mapping[str, Any], per_epoch: int) -> Length:
    limit = stage["max_steps"]
    steps = limit if stage["epochs"] is None else stage["epochs"] * per_epoch
    steps = steps if limit is None else min(steps, limit)
    return Length(epochs=-(-steps // per_epoch), steps=steps, per_epoch=per_epoch)


def _chosen(stages: Sequence[Mapping[str, Any]], wanted: str | None) -> Mapping[str, Any]:
    names = [one["name"] for one in stages]
    if wanted is None and len(stages) > 1:
        raise UserError(f"stage: name one of {', '.join(names)}")
    if wanted is not None and wanted not in names:
        raise UserError(f"stage: there is no {wanted!r}; there is {', '.join(names)}")
    return stages[0 if wanted is None else names.index(wanted)]


def _refuse_what_differs(
    plan: Plan,
    clip: ClipGradientsHook | None,
    schedulers: Sequence[LRSchedulerHook],
    updates: int,
) -> None:
    """What Lightning would do otherwise than the config means."""
    if plan.scaler is not None and plan.device.type == "cpu":
        raise UserError("hooks.amp: Lightning computes in bfloat16 where a CPU is told float16")
    if plan.accumulate > 1 and plan.reduction == "sum":
        raise UserError("hooks.accumulate: Lightning gathers the mean of batches, not their sum")
    if clip is not None and clip.max_norm is not None and clip.norm_type != 2.0:
        raise UserError("hooks.clip_gradients: Lightning clips by norms of type 2 only")
    if any(hook.metric not in ("val_loss", "val/loss") for hook in schedulers):
        raise UserError("hooks.lr_scheduler.metric: here only val_loss is measured")
    if updates > 1 and (plan.accumulate > 1 or clip is not None or plan.scaler is not None):
        raise UserError(
            "task: Lightning neither gathers batches nor clips nor scales where several optimizers "
            "take turns"
        )


def _without_fused(
    stage: Mapping[str, Any], experiment: Experiment, plan: Plan, clip: ClipGradientsHook | None
) -> Mapping[str, Any]:
    """Lightning does not clip in mixed precision before an optimizer that unscales by itself."""
    node = stage.get("optimizer") or {}
    if clip is None or plan.autocast is None or not experiment.builder.takes(node, "fused"):
        return stage
    return {**stage, "optimizer": {**node, "kwargs": {**node["kwargs"], "fused": False}}}


def _trainer_words(
    stage: Mapping[str, Any],
    run: Mapping[str, Any],
    plan: Plan,
    clip: ClipGradientsHook | None,
    length: Length,
) -> dict[str, Any]:
    words: dict[str, Any] = {
        "max_epochs": length.epochs,
        "max_steps": stage["max_steps"] or -1,
        "accumulate_grad_batches": plan.accumulate,
        "accelerator": plan.device.type,
        "devices": 1,
        "deterministic": run["deterministic"],
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
    }
    if every := stage["eval_every"].get("epochs"):
        words["val_check_interval" if every < 1 else "check_val_every_n_epoch"] = every
    if plan.autocast is not None:
        words["precision"] = "bf16-mixed" if plan.scaler is None else "16-mixed"
    if clip is not None:
        words["gradient_clip_val"] = clip.value if clip.max_norm is None else clip.max_norm
        words["gradient_clip_algorithm"] = "value" if clip.max_norm is None else "norm"
    return words
