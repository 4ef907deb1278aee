"""torchvision's box detectors: their own loss in training, found boxes in evaluation.

Pictures are taken as the tensorizer gives them, at their own size: what the library would resize
and normalise itself is left to the config, so that there is one place that says it. Nothing is
downloaded unless `pretrained` asks for it, or `weights` names some.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.models.backbones.published import take_published
from cvtrainer.models.backbones.published_input import PublishedInput
from cvtrainer.models.backbones.stem import fit_stem
from cvtrainer.models.backbones.torchvision_network import library_network, published_network
from cvtrainer.ops.boxes import reversed_boxes

_BACKGROUND = 1
"""torchvision's class 0 is none; ours begin behind it."""
_OTHERS = ("maskrcnn", "keypointrcnn")
_MEASURED = 512
_OWN_OF_SSD = 2
"""The other maps of an SSD come from levels behind its backbone."""
_DECIDING = ("rpn", "roi_heads")
"""Parts that choose between losses and boxes by their own mode."""


class TorchvisionDetector(nn.Module):
    """`loss` and its parts where boxes are given; in evaluation `found_boxes` `[N, K, 4]`,
    `found_scores` and `found_classes` `[N, K]`, best first, with a score of 0 for none."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ()
    ASKS_BY: ClassVar[tuple[str, ...]] = ("pretrained", "weights")
    CLASS_NUMBERS: ClassVar[dict[str, str]] = {"box_labels": "num_classes"}
    BOX_CORNERS: ClassVar[tuple[str, ...]] = ("boxes",)
    HAS_IDLE_STRIDES: ClassVar[bool] = True
    """The levels behind the backbone may be one place, and are stepped over all the same; those of
    the backbone may not, so `coarsest_stride` is the least size of a picture."""

    def __init__(
        self,
        name: str,
        num_classes: int,
        most: int = 100,
        in_channels: int = 3,
        weights: str | None = None,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        if num_classes < 1 or most < 1:
            raise UserError(
                f"TorchvisionDetector: num_classes is {num_classes}, most {most}; give 1 or more"
            )
        if name.startswith(_OTHERS):
            raise UserError(
                f"torchvision's {name} learns from more than boxes, which this model does not give",
                todo="Use the head instances for masks, the head heatmap for keypoints; for boxes "
                "one such as ssdlite320_mobilenet_v3_large.",
            )
        limit = "box_detections_per_img" if name.startswith("fasterrcnn") else "detections_per_img"
        network = library_network(
            name,
            "detection",
            num_classes=num_classes + _BACKGROUND,
            **{limit: most},
        )
        transform: Any = network.transform
        width, height = transform.fixed_size or transform.min_size[:1] * 2
        mean, std = tuple(transform.image_mean), tuple(transform.image_std)
        self._known = PublishedInput(height, width, mean, std)
        transform.normalize, transform.resize = _as_it_is, _both_as_they_are
        fit_stem(network, in_channels)
        self.name = name
        self.num_classes = num_classes
        self.most = most
        self.in_channels = in_channels
        self.network = network
        self.coarsest_stride = _coarsest_stride(network, in_channels)
        if pretrained or weights:
            take_published(self, weights)

    def forward(
        self,
        x: Tensor,
        boxes: Tensor | None = None,
        box_labels: Tensor | None = None,
        boxes_padding: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Boxes `[N, M, 4]` in pixels of the input; padding is true where there is none."""
        outputs: dict[str, Tensor] = {}
        if boxes is not None and box_labels is not None:
            outputs |= self._losses(x, self._targets(boxes, box_labels, boxes_padding))
        elif self.training:
            raise UserError(
                "TorchvisionDetector learns from boxes and box_labels, and the batch has none",
                where="model",
            )
        return outputs if self.training else {**outputs, **self._found(x)}

    def library_names(self) -> Mapping[str, str]:
        """torchvision's name of each weight: ours."""
        return {name: f"network.{name}" for name in self.network.state_dict()}

    def published_weights(self, which: str | None = None) -> Mapping[str, Tensor]:
        """The weights of that name (torchvision's best where none is given), under its names."""
        return published_network(self.name, which)

    def published_input(self, which: str | None = None) -> PublishedInput:
        """The pictures they were trained on; here nothing normalises them but the stage."""
        return self._known

    def _losses(self, x: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        if self.training:
            parts = self.network(list(x), targets)
        else:
            parts = self._losses_in_evaluation(x, targets)
        total: Tensor = torch.stack(list(parts.values())).sum()
        return {"loss": total, **parts}

    def _losses_in_evaluation(
        self, x: Tensor, targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The library has losses in training only, so only what decides that is told so; which
        places count is drawn alike each time."""
        inner = [getattr(self.network, name, None) for name in _DECIDING]
        deciding = [self.network, *(one for one in inner if one is not None)]
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
            torch.manual_seed(0)
            for one in deciding:
                one.training = True
            try:
                parts: dict[str, Tensor] = self.network(list(x), targets)
            finally:
                for one in deciding:
                    one.training = False
        return parts

    def _targets(
        self, boxes: Tensor, labels: Tensor, padding: Tensor | None
    ) -> list[dict[str, Tensor]]:
        """As torchvision wants them: one mapping per picture, without padding and empty boxes."""
        there = torch.ones_like(labels, dtype=torch.bool) if padding is None else ~padding
        if labels.device.type == "cpu":
            _refuse_wrong(boxes, labels, there, self.num_classes)
        there = there & (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)
        return [
            {"boxes": one[kept].float(), "labels": label[kept].long() + _BACKGROUND}
            for one, label, kept in zip(boxes, labels, there, strict=True)
        ]

    def _found(self, x: Tensor) -> dict[str, Tensor]:
        """Lists of any length as tensors of one."""
        rows: list[dict[str, Any]] = self.network(list(x))
        boxes, scores, kinds = [], [], []
        for row in rows:
            kept = row["labels"] >= _BACKGROUND
            boxes.append(self._filled(row["boxes"][kept]))
            scores.append(self._filled(row["scores"][kept]))
            kinds.append(self._filled(row["labels"][kept] - _BACKGROUND))
        return {
            "found_boxes": torch.stack(boxes),
            "found_scores": torch.stack(scores),
            "found_classes": torch.stack(kinds),
        }

    def _filled(self, rows: Tensor) -> Tensor:
        short = self.most - len(rows)
        return functional.pad(rows, [0] * (2 * (rows.ndim - 1)) + [0, short])


def _refuse_wrong(boxes: Tensor, labels: Tensor, there: Tensor, classes: int) -> None:
    """On a host this costs nothing; what goes to a device has been looked at before."""
    if bool(reversed_boxes(boxes, ~there).any()):
        raise UserError(
            "a box ends before it begins",
            where="field boxes",
            todo="Give boxes as x1, y1, x2, y2: the tensorizer box with format: xyxy.",
        )
    wrong = labels[there & ((labels < 0) | (labels >= classes))]
    if len(wrong):
        raise UserError(
            f"a box has the label {int(wrong[0])} and the model has {classes} classes",
            where="field box_labels",
            todo="Set num_classes to the number of classes; they are numbered from 0.",
        )


def _coarsest_stride(network: nn.Module, in_channels: int) -> int:
    """Pixels that a place of the backbone's own last map stands for, without computing it."""
    backbone: Any = network.backbone
    body = getattr(backbone, "body", None)
    own = _OWN_OF_SSD if body is None else len(body.return_layers)
    state = {name: value.to("meta") for name, value in backbone.state_dict().items()}
    picture = torch.empty(1, in_channels, _MEASURED, _MEASURED, device="meta")
    trained = backbone.training
    backbone.eval()
    with torch.no_grad():
        maps = functional_call(backbone, state, (picture,))
    backbone.train(trained)
    return _MEASURED // int(list(maps.values())[own - 1].shape[-1])


def _as_it_is(image: Tensor) -> Tensor:
    return image


def _both_as_they_are(image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
    return image, target
