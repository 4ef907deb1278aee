"""Lightning's Trainer, bare and with bar, logger, loss and accuracy, and checkpoints."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from benchmarks.near_empty import CLASSES, Pair, TimedBatches, make_model, make_optimizer
from benchmarks.peers.report import run_peer


class Module(lightning.LightningModule):
    """The near-empty model."""

    def __init__(self) -> None:
        super().__init__()
        self.model = make_model()
        self.criterion = nn.CrossEntropyLoss()

    def training_step(self, batch: Pair, batch_idx: int) -> Tensor:
        """One loss."""
        x, y = batch
        return self.criterion(self.model(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The same optimizer as everywhere."""
        return make_optimizer(self.model)


class Measured(Module):
    """The same, with loss and accuracy logged."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy = MulticlassAccuracy(CLASSES)

    def training_step(self, batch: Pair, batch_idx: int) -> Tensor:
        """One loss, and what is logged with it."""
        x, y = batch
        output = self.model(x)
        loss = self.criterion(output, y)
        self.accuracy(output, y)
        self.log("loss", loss, prog_bar=True)
        self.log("accuracy", self.accuracy, prog_bar=True)
        return loss


def bare(batches: TimedBatches) -> Callable[[], None]:
    """Everything that can be switched off is off."""
    module = Module()

    def train() -> None:
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, batches)

    return train


def equipped(batches: TimedBatches) -> Callable[[], None]:
    """Bar, logger every ten steps, two meters, a checkpoint each epoch."""
    module = Measured()

    def train() -> None:
        with tempfile.TemporaryDirectory() as folder:
            trainer = lightning.Trainer(
                accelerator="cpu",
                devices=1,
                max_epochs=1,
                logger=CSVLogger(folder),
                callbacks=[ModelCheckpoint(folder)],
                log_every_n_steps=10,
                enable_model_summary=False,
            )
            trainer.fit(module, batches)

    return train


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    run_peer("lightning", {"bare": bare, "equipped": equipped}, lambda pair: pair)
