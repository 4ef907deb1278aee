"""Numbers about an epoch, accumulated on the device from whole blocks of steps.

A meter says in `PRODUCES` which names it gives and in `HIGHER_IS_BETTER` which way they improve;
both are literals that can be read without importing anything. When blocks are cut and which
fields go into which parameter is decided by the engine.
"""

from __future__ import annotations

from cvtrainer.meters.accuracy import AccuracyMeter
from cvtrainer.meters.calibration import CalibrationErrorMeter
from cvtrainer.meters.coco import BoxMAPMeter
from cvtrainer.meters.coco_masks import MaskMAPMeter
from cvtrainer.meters.confusion import (
    BalancedAccuracyMeter,
    ClassAccuracyMeter,
    ConfusionMeter,
    F1Meter,
)
from cvtrainer.meters.feature_distance import FeatureDistanceMeter
from cvtrainer.meters.keypoints import PCKMeter
from cvtrainer.meters.loss import LossMeter
from cvtrainer.meters.mean import MeanMeter
from cvtrainer.meters.multi_label import MultiLabelMeter
from cvtrainer.meters.objects import CountErrorMeter, UnionDiceMeter
from cvtrainer.meters.pictures import PerplexityMeter, PSNRMeter, SSIMMeter
from cvtrainer.meters.ranking import AUROCMeter, AveragePrecisionMeter
from cvtrainer.meters.regression import RegressionMeter
from cvtrainer.meters.segmentation import BoundaryFMeter, DiceMeter, MeanIoUMeter
from cvtrainer.meters.torchmetrics_meter import TorchmetricsMeter

__all__ = [
    "AUROCMeter",
    "AccuracyMeter",
    "AveragePrecisionMeter",
    "BalancedAccuracyMeter",
    "BoundaryFMeter",
    "BoxMAPMeter",
    "CalibrationErrorMeter",
    "ClassAccuracyMeter",
    "ConfusionMeter",
    "CountErrorMeter",
    "DiceMeter",
    "F1Meter",
    "FeatureDistanceMeter",
    "LossMeter",
    "MaskMAPMeter",
    "MeanIoUMeter",
    "MeanMeter",
    "MultiLabelMeter",
    "PCKMeter",
    "PSNRMeter",
    "PerplexityMeter",
    "RegressionMeter",
    "SSIMMeter",
    "TorchmetricsMeter",
    "UnionDiceMeter",
]
