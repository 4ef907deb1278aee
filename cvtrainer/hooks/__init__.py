"""Hooks: one training technique each, on sixteen points of the loop."""

from cvtrainer.hooks.accumulate import AccumulateHook
from cvtrainer.hooks.amp import AMPHook
from cvtrainer.hooks.base import POINTS, BaseHook, Rank
from cvtrainer.hooks.channels_last import ChannelsLastHook
from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.hooks.clip_gradients import ClipGradientsHook
from cvtrainer.hooks.compile import CompileHook
from cvtrainer.hooks.data_parallel import DataParallelHook
from cvtrainer.hooks.ddp import DDPHook
from cvtrainer.hooks.early_stopping import EarlyStoppingHook
from cvtrainer.hooks.ema import EMAHook
from cvtrainer.hooks.freeze import FreezeHook
from cvtrainer.hooks.fsdp import FSDPHook
from cvtrainer.hooks.logger import LoggerHook
from cvtrainer.hooks.lr_scheduler import LRSchedulerHook
from cvtrainer.hooks.memory import MemoryHook
from cvtrainer.hooks.nan_guard import NanGuardHook
from cvtrainer.hooks.nominal_batch import NominalBatchHook
from cvtrainer.hooks.profiler import ProfilerHook
from cvtrainer.hooks.progress_bar import ProgressBarHook
from cvtrainer.hooks.swa import SWAHook
from cvtrainer.hooks.throughput import ThroughputHook

__all__ = [
    "POINTS",
    "AMPHook",
    "AccumulateHook",
    "BaseHook",
    "ChannelsLastHook",
    "CheckpointHook",
    "ClipGradientsHook",
    "CompileHook",
    "DDPHook",
    "DataParallelHook",
    "EMAHook",
    "EarlyStoppingHook",
    "FSDPHook",
    "FreezeHook",
    "LRSchedulerHook",
    "LoggerHook",
    "MemoryHook",
    "NanGuardHook",
    "NominalBatchHook",
    "ProfilerHook",
    "ProgressBarHook",
    "Rank",
    "SWAHook",
    "ThroughputHook",
]
