"""The Trainer of Hugging Face transformers, without logging, saving or bar."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from benchmarks.near_empty import BATCH_SIZE, TimedBatches, make_model, make_optimizer
from benchmarks.peers.report import run_peer


class Model(nn.Module):
    """The near-empty model; the Trainer wants the loss from it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = make_model()
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Loss and output."""
        output = self.model(x)
        return {"loss": self.criterion(output, labels), "logits": output}


class ReadyBatches(Trainer):
    """A Trainer that is given its batches instead of making them."""

    ready: TimedBatches

    def get_train_dataloader(self) -> TimedBatches:
        """The batches as they are."""
        return self.ready


def bare(batches: TimedBatches) -> Callable[[], None]:
    """One epoch per block, everything optional off."""
    model = Model()

    def train() -> None:
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                num_train_epochs=1,
                per_device_train_batch_size=BATCH_SIZE,
                report_to=[],
                logging_strategy="no",
                save_strategy="no",
                disable_tqdm=True,
                max_grad_norm=0.0,
                use_cpu=True,
            )
            optimizer = make_optimizer(model)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
            trainer = ReadyBatches(
                model=model,
                args=arguments,
                train_dataset=batches.batches,
                optimizers=(optimizer, schedule),
            )
            trainer.ready = batches
            trainer.train()

    return train


if __name__ == "__main__":
    run_peer("transformers", {"bare": bare}, lambda pair: {"x": pair[0], "labels": pair[1]})
