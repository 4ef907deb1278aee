"""Loggers: places where metrics and messages go, behind one writer interface."""

from cvtrainer.logger.console import ConsoleLogger
from cvtrainer.logger.fanout import Writers
from cvtrainer.logger.file import FileLogger
from cvtrainer.logger.jsonl import JsonlLogger

__all__ = ["ConsoleLogger", "FileLogger", "JsonlLogger", "Writers"]
