"""Data sets: each gives samples by number and says which file a sample came from.

One file per storage; how their files are read lies in `reading`.
"""

from cvtrainer.data.datasets.adapter import DataAdapter
from cvtrainer.data.datasets.array_file import ArrayFile
from cvtrainer.data.datasets.audio_folder import AudioFolder
from cvtrainer.data.datasets.coco import Coco
from cvtrainer.data.datasets.digits import Digits
from cvtrainer.data.datasets.file_list import FileList
from cvtrainer.data.datasets.image_folder import ImageFolder
from cvtrainer.data.datasets.instance_masks import InstanceMasks
from cvtrainer.data.datasets.mask_pairs import MaskPairs
from cvtrainer.data.datasets.picture_world import PictureWorld
from cvtrainer.data.datasets.series import SeriesFile, SeriesTable, SeriesWindows
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.datasets.table import Table
from cvtrainer.data.datasets.text_lines import TextFolder, TextLines
from cvtrainer.data.datasets.voc import Voc
from cvtrainer.data.datasets.web_dataset import WebDataset
from cvtrainer.data.datasets.yolo import Yolo

__all__ = [
    "ArrayFile",
    "AudioFolder",
    "Coco",
    "DataAdapter",
    "Digits",
    "FileList",
    "ImageFolder",
    "InstanceMasks",
    "MaskPairs",
    "PictureWorld",
    "SeriesFile",
    "SeriesTable",
    "SeriesWindows",
    "StoredDataset",
    "Table",
    "TextFolder",
    "TextLines",
    "Voc",
    "WebDataset",
    "Yolo",
]
