"""The built-in short names of every kind, as literal tables, and the registries users add to.

A table maps a name to "module:Attr"; nothing named here is imported before it is built. Optimizers,
schedulers and losses of torch need no entry: they are found by their own names. A loss that stands
here and in torch is the one from here; it takes what torch's takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from cvtrainer.core.registry import Registry

MODELS = Registry(
    "model",
    {
        "base_model": "cvtrainer.models:BaseModel",
        "graph_model": "cvtrainer.models:GraphModel",
        "picture_discriminator": "cvtrainer.models:PictureDiscriminator",
        "picture_generator": "cvtrainer.models:PictureGenerator",
        "sequence_model": "cvtrainer.models:SequenceModel",
        "table_model": "cvtrainer.models:TableModel",
        "torchvision_detector": "cvtrainer.models:TorchvisionDetector",
        "torchvision_segmenter": "cvtrainer.models:TorchvisionSegmenter",
        "vqvae": "cvtrainer.models:VQVAE",
    },
)
BACKBONES = Registry(
    "backbone",
    {
        "edge_net": "cvtrainer.models.backbones:EdgeNet",
        "graph_net": "cvtrainer.models.backbones:GraphNet",
        "resnet18": "cvtrainer.models.backbones:ResNet18",
        "resnet34": "cvtrainer.models.backbones:ResNet34",
        "resnet50": "cvtrainer.models.backbones:ResNet50",
        "series_net": "cvtrainer.models.backbones:SeriesNet",
        "small_cnn": "cvtrainer.models.backbones:SmallCNN",
        "table_net": "cvtrainer.models.backbones:TableNet",
        "text_net": "cvtrainer.models.backbones:TextNet",
        "timm": "cvtrainer.models.backbones:TimmBackbone",
        "timm_pyramid": "cvtrainer.models.backbones:TimmPyramid",
        "torchvision": "cvtrainer.models.backbones:TorchvisionBackbone",
        "torchvision_pyramid": "cvtrainer.models.backbones:TorchvisionPyramid",
    },
)
ADAPTERS = Registry(
    "adapter",
    {
        "conv": "cvtrainer.models.adapters:Conv",
        "fpn": "cvtrainer.models.adapters:FPN",
        "identity": "cvtrainer.models.adapters:Identity",
        "linear": "cvtrainer.models.adapters:Linear",
        "pan": "cvtrainer.models.adapters:PAN",
        "unet": "cvtrainer.models.adapters:UNetDecoder",
    },
)
HEADS = Registry(
    "head",
    {
        "detector": "cvtrainer.models.heads:DetectionHead",
        "each_place": "cvtrainer.models.heads:EachPlace",
        "heatmap": "cvtrainer.models.heads:HeatmapHead",
        "instances": "cvtrainer.models.heads:InstanceHead",
        "mask": "cvtrainer.models.heads:MaskHead",
        "multi_label": "cvtrainer.models.heads:MultiLabel",
        "multiclass": "cvtrainer.models.heads:Multiclass",
        "regression": "cvtrainer.models.heads:Regression",
    },
)
LOSSES = Registry(
    "loss",
    {
        "adversarial_loss": "cvtrainer.loss:AdversarialLoss",
        "bce_with_logits_loss": "cvtrainer.loss:BCEWithLogitsLoss",
        "box_iou_loss": "cvtrainer.loss:BoxIoULoss",
        "cross_entropy_loss": "cvtrainer.loss:CrossEntropyLoss",
        "detection_loss": "cvtrainer.loss:DetectionLoss",
        "dice_loss": "cvtrainer.loss:DiceLoss",
        "distribution_focal_loss": "cvtrainer.loss:DistributionFocalLoss",
        "focal_loss": "cvtrainer.loss:FocalLoss",
        "given_loss": "cvtrainer.loss:GivenLoss",
        "heatmap_loss": "cvtrainer.loss:HeatmapLoss",
        "instance_loss": "cvtrainer.loss:InstanceLoss",
        "perceptual_loss": "cvtrainer.loss:PerceptualLoss",
        "quality_focal_loss": "cvtrainer.loss:QualityFocalLoss",
        "ssim_loss": "cvtrainer.loss:SSIMLoss",
        "weighted_losses": "cvtrainer.loss:WeightedLosses",
    },
)
OPTIMIZERS = Registry(
    "optimizer",
    {
        "ada_belief": "timm.optim:AdaBelief",
        "adamp": "timm.optim:AdamP",
        "adan": "timm.optim:Adan",
        "adopt": "timm.optim:Adopt",
        "lamb": "timm.optim:Lamb",
        "laprop": "timm.optim:LaProp",
        "lars": "timm.optim:Lars",
        "lion": "timm.optim:Lion",
        "madgrad": "timm.optim:MADGRAD",
        "mars": "timm.optim:Mars",
        "nadamw": "timm.optim:NAdamW",
        "nvnovograd": "timm.optim:NvNovoGrad",
        "rmsprop_tf": "timm.optim:RMSpropTF",
        "sgdp": "timm.optim:SGDP",
        "sgdw": "timm.optim:SGDW",
    },
)
SCHEDULERS = Registry(
    "scheduler",
    {
        "constant": "cvtrainer.optim.schedules:constant",
        "cosine": "cvtrainer.optim.schedules:cosine",
        "exponential": "cvtrainer.optim.schedules:exponential",
        "linear": "cvtrainer.optim.schedules:linear",
        "multi_step": "cvtrainer.optim.schedules:multi_step",
        "one_cycle": "cvtrainer.optim.schedules:one_cycle",
        "plateau": "cvtrainer.optim.schedules:plateau",
        "polynomial": "cvtrainer.optim.schedules:polynomial",
        "step": "cvtrainer.optim.schedules:step",
        "warmup_cosine": "cvtrainer.optim.schedules:warmup_cosine",
        "warmup_multi_step": "cvtrainer.optim.schedules:warmup_multi_step",
        "warmup_polynomial": "cvtrainer.optim.schedules:warmup_polynomial",
    },
)
DATASETS = Registry(
    "dataset",
    {
        "array_file": "cvtrainer.data.datasets.array_file:ArrayFile",
        "audio_folder": "cvtrainer.data.datasets.audio_folder:AudioFolder",
        "coco": "cvtrainer.data.datasets.coco:Coco",
        "digits": "cvtrainer.data.datasets.digits:Digits",
        "file_list": "cvtrainer.data.datasets.file_list:FileList",
        "image_folder": "cvtrainer.data.datasets.image_folder:ImageFolder",
        "instance_masks": "cvtrainer.data.datasets.instance_masks:InstanceMasks",
        "mask_pairs": "cvtrainer.data.datasets.mask_pairs:MaskPairs",
        "picture_world": "cvtrainer.data.datasets.picture_world:PictureWorld",
        "series_file": "cvtrainer.data.datasets.series:SeriesFile",
        "series_table": "cvtrainer.data.datasets.series:SeriesTable",
        "series_windows": "cvtrainer.data.datasets.series:SeriesWindows",
        "table": "cvtrainer.data.datasets.table:Table",
        "tar_stream": "cvtrainer.data.datasets.tar_source:TarSource",
        "text_folder": "cvtrainer.data.datasets.text_lines:TextFolder",
        "text_lines": "cvtrainer.data.datasets.text_lines:TextLines",
        "voc": "cvtrainer.data.datasets.voc:Voc",
        "web_dataset": "cvtrainer.data.datasets.web_dataset:WebDataset",
        "yolo": "cvtrainer.data.datasets.yolo:Yolo",
    },
)
SAMPLERS = Registry(
    "sampler",
    {
        "aspect_ratio": "cvtrainer.data.sampling:AspectRatio",
        "balanced": "cvtrainer.data.sampling:Balanced",
        "repeat_factor": "cvtrainer.data.sampling:RepeatFactor",
        "sequential": "cvtrainer.data.sampling:Sequential",
        "shuffled": "cvtrainer.data.sampling:Shuffled",
        "weighted": "cvtrainer.data.sampling:Weighted",
    },
)
CACHES = Registry(
    "cache",
    {
        "none": "cvtrainer.data.opening:FilePixels",
        "packed": "cvtrainer.data.cache:PackedCache",
        "ram": "cvtrainer.data.cache:MemoryCache",
    },
)
SPLITS = Registry("split", {"split": "cvtrainer.data.splits:Split"})
DECODINGS = Registry("decode", {"decoding": "cvtrainer.data.decode:Decoding"})
MIXERS = Registry(
    "mixer",
    {
        "cut_mix": "cvtrainer.data.mixing:CutMix",
        "mix_up": "cvtrainer.data.mixing:MixUp",
        "mix_up_or_cut_mix": "cvtrainer.data.mixing:MixUpOrCutMix",
        "mosaic": "cvtrainer.data.mixing:Mosaic",
    },
)
DEVICE_STEPS = Registry(
    "device_step",
    {
        "color_jitter": "cvtrainer.data.device_steps:ColorJitter",
        "normalize": "cvtrainer.data.device_steps:Normalize",
        "random_erasing": "cvtrainer.data.device_steps:RandomErasing",
        "random_horizontal_flip": "cvtrainer.data.device_steps:RandomHorizontalFlip",
        "random_shift": "cvtrainer.data.device_steps:RandomShift",
        "random_vertical_flip": "cvtrainer.data.device_steps:RandomVerticalFlip",
    },
)
TRANSFORMS = Registry("transform", {})
TENSORIZERS = Registry(
    "tensorizer",
    {
        "audio": "cvtrainer.data.tensorizer:AudioTensorizer",
        "box": "cvtrainer.data.tensorizer:BoxTensorizer",
        "categories": "cvtrainer.data.tensorizer:CategoriesTensorizer",
        "image": "cvtrainer.data.tensorizer:ImageTensorizer",
        "index": "cvtrainer.data.tensorizer:IndexTensorizer",
        "keypoint": "cvtrainer.data.tensorizer:KeypointTensorizer",
        "log_mel": "cvtrainer.data.tensorizer:LogMelTensorizer",
        "mask": "cvtrainer.data.tensorizer:MaskTensorizer",
        "multi_hot": "cvtrainer.data.tensorizer:MultiHotTensorizer",
        "numbers": "cvtrainer.data.tensorizer:NumbersTensorizer",
        "one_hot": "cvtrainer.data.tensorizer:OneHotTensorizer",
        "scalar": "cvtrainer.data.tensorizer:ScalarTensorizer",
        "sequence": "cvtrainer.data.tensorizer:SequenceTensorizer",
        "tensorizer": "cvtrainer.data.tensorizer:Tensorizer",
        "text": "cvtrainer.data.tensorizer:TextTensorizer",
        "vector": "cvtrainer.data.tensorizer:VectorTensorizer",
    },
)
COLLATES = Registry("collate", {"smart": "cvtrainer.data.collate:collate"})
HOOKS = Registry(
    "hook",
    {
        "accumulate": "cvtrainer.hooks:AccumulateHook",
        "amp": "cvtrainer.hooks:AMPHook",
        "channels_last": "cvtrainer.hooks:ChannelsLastHook",
        "checkpoint": "cvtrainer.hooks:CheckpointHook",
        "clip_gradients": "cvtrainer.hooks:ClipGradientsHook",
        "compile": "cvtrainer.hooks:CompileHook",
        "data_parallel": "cvtrainer.hooks:DataParallelHook",
        "ddp": "cvtrainer.hooks:DDPHook",
        "early_stopping": "cvtrainer.hooks:EarlyStoppingHook",
        "ema": "cvtrainer.hooks:EMAHook",
        "freeze": "cvtrainer.hooks:FreezeHook",
        "fsdp": "cvtrainer.hooks:FSDPHook",
        "logger": "cvtrainer.hooks:LoggerHook",
        "lr_scheduler": "cvtrainer.hooks:LRSchedulerHook",
        "memory": "cvtrainer.hooks:MemoryHook",
        "nan_guard": "cvtrainer.hooks:NanGuardHook",
        "nominal_batch": "cvtrainer.hooks:NominalBatchHook",
        "profiler": "cvtrainer.hooks:ProfilerHook",
        "progress_bar": "cvtrainer.hooks:ProgressBarHook",
        "swa": "cvtrainer.hooks:SWAHook",
        "throughput": "cvtrainer.hooks:ThroughputHook",
    },
)
METERS = Registry(
    "meter",
    {
        "accuracy": "cvtrainer.meters:AccuracyMeter",
        "auroc": "cvtrainer.meters:AUROCMeter",
        "average_precision": "cvtrainer.meters:AveragePrecisionMeter",
        "balanced_accuracy": "cvtrainer.meters:BalancedAccuracyMeter",
        "boundary_f": "cvtrainer.meters:BoundaryFMeter",
        "box_map": "cvtrainer.meters:BoxMAPMeter",
        "calibration_error": "cvtrainer.meters:CalibrationErrorMeter",
        "class_accuracy": "cvtrainer.meters:ClassAccuracyMeter",
        "confusion": "cvtrainer.meters:ConfusionMeter",
        "count_error": "cvtrainer.meters:CountErrorMeter",
        "dice": "cvtrainer.meters:DiceMeter",
        "f1": "cvtrainer.meters:F1Meter",
        "feature_distance": "cvtrainer.meters:FeatureDistanceMeter",
        "loss": "cvtrainer.meters:LossMeter",
        "mask_map": "cvtrainer.meters:MaskMAPMeter",
        "mean": "cvtrainer.meters:MeanMeter",
        "mean_iou": "cvtrainer.meters:MeanIoUMeter",
        "multi_label": "cvtrainer.meters:MultiLabelMeter",
        "pck": "cvtrainer.meters:PCKMeter",
        "perplexity": "cvtrainer.meters:PerplexityMeter",
        "psnr": "cvtrainer.meters:PSNRMeter",
        "regression": "cvtrainer.meters:RegressionMeter",
        "ssim": "cvtrainer.meters:SSIMMeter",
        "torchmetrics": "cvtrainer.meters:TorchmetricsMeter",
        "union_dice": "cvtrainer.meters:UnionDiceMeter",
    },
)
LOGGERS = Registry(
    "logger",
    {
        "console": "cvtrainer.logger:ConsoleLogger",
        "file": "cvtrainer.logger:FileLogger",
        "jsonl": "cvtrainer.logger:JsonlLogger",
        "tensorboard": "cvtrainer.logger:TensorBoardLogger",
        "wandb": "cvtrainer.logger:WandBLogger",
    },
)
TASKS = Registry(
    "task",
    {
        "classification": "cvtrainer.tasks:Classification",
        "detection": "cvtrainer.tasks:Detection",
        "distillation": "cvtrainer.tasks:Distillation",
        "gan": "cvtrainer.tasks:GAN",
        "instances": "cvtrainer.tasks:Instances",
        "keypoints": "cvtrainer.tasks:Keypoints",
        "multi_label": "cvtrainer.tasks:MultiLabelClassification",
        "pictures": "cvtrainer.tasks:Pictures",
        "regression": "cvtrainer.tasks:Regression",
        "segmentation": "cvtrainer.tasks:Segmentation",
        "several": "cvtrainer.tasks:Several",
    },
)

REGISTRIES: Mapping[str, Registry] = MappingProxyType(
    {
        registry.kind: registry
        for registry in (
            MODELS,
            BACKBONES,
            ADAPTERS,
            HEADS,
            LOSSES,
            OPTIMIZERS,
            SCHEDULERS,
            DATASETS,
            SPLITS,
            SAMPLERS,
            DECODINGS,
            CACHES,
            TRANSFORMS,
            MIXERS,
            DEVICE_STEPS,
            TENSORIZERS,
            COLLATES,
            HOOKS,
            METERS,
            LOGGERS,
            TASKS,
        )
    }
)

ADDED_HOOKS: tuple[Mapping[str, Any], ...] = (
    {"name": "logger", "type": "cvtrainer.hooks:LoggerHook", "kwargs": {}},
    {
        "name": "checkpoint",
        "type": "cvtrainer.hooks:CheckpointHook",
        "kwargs": {"save_freq": 0, "save_best": True},
    },
)
"""What a stage gets where it names no such hook: nothing is trained and then lost."""
