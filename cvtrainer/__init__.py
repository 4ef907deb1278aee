"""cvtrainer: describe a vision model, its data and its target device in one file.

`train`, `evaluate` and `load` do what the verbs do. Importing this package imports neither torch
nor anything else that is slow; each call imports its job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from cvtrainer.deploy.package.model import PackagedModel
    from cvtrainer.jobs.load import LoadedModel
    from cvtrainer.jobs.train import TrainResult
    from cvtrainer.jobs.verify_resume import Verdict

__all__ = [
    "__version__",
    "clear_memory",
    "evaluate",
    "get_memory",
    "load",
    "remove_module_prefix",
    "train",
    "verify_resume",
]
__version__ = "0.1.0"


def train(
    config: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    resume: str | None = None,
    num_gpus: int | None = None,
    run_dir: str | Path | None = None,
    stage: str | None = None,
    fast_dev_run: int | None = None,
    overfit: int | None = None,
) -> TrainResult:
    """Train what the config describes; returns the run folder, metrics and checkpoints."""
    if fast_dev_run or overfit is not None:
        from cvtrainer.jobs.rehearsal import rehearse

        return rehearse(
            config,
            fast_dev_run=fast_dev_run,
            overfit=overfit,
            overrides=overrides,
            run_dir=run_dir,
            others={"resume": resume, "num_gpus": num_gpus, "stage": stage},
        )
    from cvtrainer.jobs.train import train as job

    return job(
        config,
        overrides=overrides,
        resume=resume,
        num_gpus=num_gpus,
        run_dir=run_dir,
        stage=stage,
    )


def evaluate(
    config: str | Path | Mapping[str, Any],
    *,
    checkpoint: str | Path | None = None,
    overrides: Sequence[str] = (),
    split: str | None = None,
) -> dict[str, float]:
    """Measure a checkpoint on a split without training."""
    from cvtrainer.jobs.evaluate import evaluate as job

    return job(config, checkpoint=checkpoint, overrides=overrides, split=split)


@overload
def load(
    source: str | Path, *, config: str | Path | None = None, device: str = "cpu"
) -> LoadedModel: ...


@overload
def load(source: str | Path, *, artefact: str | None) -> PackagedModel: ...


def load(
    source: str | Path,
    *,
    config: str | Path | None = None,
    device: str = "cpu",
    artefact: str | None = None,
) -> LoadedModel | PackagedModel:
    """The trained model of a run folder or checkpoint, ready to predict; of a package (`.cvt`) the
    artefact of that name or precision, for which torch is not needed."""
    from cvtrainer.deploy.package.archive import is_package

    if is_package(source):
        from cvtrainer.deploy.package.model import load_package

        return load_package(source, artefact=artefact)
    if artefact is not None:
        from cvtrainer.core.errors import UserError

        raise UserError(f"artefact {artefact!r} is asked of no package", where=str(source))
    from cvtrainer.jobs.load import load as job

    return job(source, config=config, device=device)


def remove_module_prefix(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Saved weights without `module.`, `model.` and the like before all of their names."""
    from cvtrainer.engine.weight_names import remove_module_prefix as remove

    return remove(weights)


def get_memory(device: str | None = None, *, fraction: bool = False) -> float:
    """GB that torch holds on the GPU, or its share of the whole; 0 on the CPU."""
    from cvtrainer.engine.memory import get_memory as look

    return look(device, fraction=fraction)


def clear_memory(device: str | None = None, *, threshold: float | None = None) -> None:
    """Collect garbage and give back cached GPU memory, if more than `threshold` of it is held."""
    from cvtrainer.engine.memory import clear_memory as clear

    clear(device, threshold=threshold)


def verify_resume(
    config: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    kills: int = 3,
    steps: int | None = None,
    seed: int = 0,
) -> Verdict:
    """Whether a run of this config, killed and resumed, is the unbroken run to the last bit."""
    from cvtrainer.jobs.verify_resume import verify_resume as job

    return job(config, overrides=overrides, kills=kills, steps=steps, seed=seed)
