"""One sample in one square: the picture with its labels, or the curve, the wave, the words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from cvtrainer.pictures.drawing.curves import draw_bars, draw_series, draw_wave
from cvtrainer.pictures.drawing.lettering import Lettering
from cvtrainer.pictures.drawing.objects import draw_boxes, draw_keypoints, lay_mask, lay_masks

GROUND = (28, 28, 30)
_PALE = (225, 225, 228)
_BAD = (120, 20, 20)


def panel(sample: Mapping[str, Any], lettering: Lettering, side: int) -> Image.Image:
    """That sample as a square picture."""
    x = sample.get("x", sample.get("image"))
    fields = {**sample, **(sample.get("target") or {})}
    meta = sample.get("meta") or {}
    if isinstance(x, str):
        return _words(x, lettering, side)
    x = _as_array(x)
    if x is None or not x.size:
        return message("nothing to draw", lettering, side)
    if meta.get("sample_rate") is not None:
        return draw_wave(x, side)
    if x.ndim == 3 or (x.ndim == 2 and x.dtype == np.uint8):
        return _picture(x, fields, lettering, side)
    if x.ndim == 2:
        return draw_series(x, side)
    return draw_bars(x, side)


def message(text: str, lettering: Lettering, side: int) -> Image.Image:
    """A square that says why there is no picture."""
    return _words(text, lettering, side, ground=_BAD)


def label_text(sample: Mapping[str, Any], lettering: Lettering) -> str:
    """The labels of a sample that are no places: class, classes, value."""
    target = sample.get("target") or {}
    if target.get("class_id") is not None:
        return lettering.name(int(target["class_id"]))
    if target.get("class_ids") is not None:
        names = [lettering.name(int(n)) for n in np.atleast_1d(target["class_ids"])]
        return ", ".join(names) or "no class"
    if target.get("value") is not None:
        return ", ".join(f"{number:.5g}" for number in np.ravel(target["value"])[:6].tolist())
    if target.get("boxes") is not None:
        return f"{len(np.reshape(target['boxes'], (-1, 4)))} boxes"
    if target.get("keypoints") is not None:
        return f"{len(np.reshape(target['keypoints'], (-1, 3)))} keypoints"
    return ""


def _as_array(x: Any) -> Any:
    if isinstance(x, Image.Image):
        return np.asarray(x.convert("RGB"))
    if x is not None and not isinstance(x, np.ndarray) and hasattr(x, "numpy"):
        x = x.numpy()
        return np.moveaxis(x, 0, -1) if x.ndim == 3 and x.shape[0] in (1, 3) else x
    return x if isinstance(x, np.ndarray) else None


def _picture(x: Any, fields: Mapping[str, Any], lettering: Lettering, side: int) -> Image.Image:
    pixels = _bytes(x)
    height, width = pixels.shape[:2]
    share = side / max(height, width)
    size = max(round(width * share), 1), max(round(height * share), 1)
    enlarge = Image.Resampling.NEAREST if share >= 3 else Image.Resampling.BICUBIC
    shown = Image.fromarray(pixels).resize(size, enlarge if share > 1 else Image.Resampling.BOX)
    if _array(fields.get("mask")) is not None:
        shown = lay_mask(shown, np.asarray(fields["mask"]))
    if _array(fields.get("masks")) is not None:
        shown = lay_masks(shown, np.asarray(fields["masks"]))
    draw = ImageDraw.Draw(shown)
    if fields.get("boxes") is not None:
        draw_boxes(draw, fields["boxes"], fields.get("box_labels"), share, lettering)
    if fields.get("keypoints") is not None:
        draw_keypoints(draw, fields["keypoints"], share, lettering)
    square = Image.new("RGB", (side, side), GROUND)
    square.paste(shown, ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def _array(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) and value.size else None


def _bytes(x: Any) -> Any:
    """Any picture array as RGB uint8."""
    if x.ndim == 2:
        x = x[:, :, None]
    if x.shape[2] not in (1, 3):
        x = x[:, :, :3] if x.shape[2] > 3 else x[:, :, :1]
    if x.dtype != np.uint8:
        values = np.nan_to_num(x.astype(np.float32))
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 255 or x.dtype.kind == "f":
            top = 1.0 if low >= 0 and high <= 1 else None
            values = values * 255 if top else (values - low) / max(high - low, 1e-9) * 255
        x = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.repeat(x, 3, axis=2) if x.shape[2] == 1 else np.ascontiguousarray(x)


def _words(
    text: str, lettering: Lettering, side: int, *, ground: tuple[int, int, int] = GROUND
) -> Image.Image:
    square = Image.new("RGB", (side, side), ground)
    draw = ImageDraw.Draw(square)
    lines = lettering.lines(text, side - 12) or ["(no words)"]
    fitting = max((side - 8) // (lettering.size + 4), 1)
    if len(lines) > fitting:
        lines = [*lines[: fitting - 1], "…"]
    for number, line in enumerate(lines):
        place = (6, 4 + number * (lettering.size + 4))
        draw.text(place, line, font=lettering.font, fill=_PALE)
    return square
