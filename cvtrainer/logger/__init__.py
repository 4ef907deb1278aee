"""Loggers: places where metrics and messages go, behind one writer interface."""

from cvtrainer.logger.console import ConsoleLogger
from cvtrainer.logger.fanout import Writers
from cvtrainer.logger.file import FileLogger
from cvtrainer.logger.jsonl import JsonlLogger
from cvtrainer.logger.tensorboard import TensorBoardLogger
from cvtrainer.logger.wandb import WandBLogger

__all__ = [
    "ConsoleLogger",
    "FileLogger",
    "JsonlLogger",
    "TensorBoardLogger",
    "WandBLogger",
    "Writers",
]
