"""Data sets put together from a storage and a task, or written by hand with three methods.

`class Fruit(ClassificationTask, FolderStorage, LabBaseDataset)` is complete; whatever its own
files need is written by overriding `_len`, `_get_raw` or `_get_sample`. The base comes last.
"""

from cvtrainer.data.datasets.lab.dataset import LabBaseDataset
from cvtrainer.data.datasets.lab.storages import (
    CocoStorage,
    FolderStorage,
    SingleFileStorage,
    TableStorage,
    VocStorage,
)
from cvtrainer.data.datasets.lab.task_mixins import (
    AudioTask,
    ClassificationTask,
    DetectionTask,
    GenerationTask,
    InstanceTask,
    KeypointTask,
    MultiLabelTask,
    RegressionTask,
    SegmentationTask,
    SeriesTask,
    TextTask,
)

__all__ = [
    "AudioTask",
    "ClassificationTask",
    "CocoStorage",
    "DetectionTask",
    "FolderStorage",
    "GenerationTask",
    "InstanceTask",
    "KeypointTask",
    "LabBaseDataset",
    "MultiLabelTask",
    "RegressionTask",
    "SegmentationTask",
    "SeriesTask",
    "SingleFileStorage",
    "TableStorage",
    "TextTask",
    "VocStorage",
]
