"""Files that end too early or went bad: judged as Pillow judges, and never half a sample."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from cvtrainer.core.errors import UserError
from cvtrainer.data.decode import Decoding, decode_image
from cvtrainer.data.sample import BadSample

FORMATS: list[tuple[str, dict[str, Any]]] = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("GIF", {"interlace": 0}),
    ("BMP", {}),
    ("TIFF", {}),
    ("PPM", {}),
]


def picture_file(form: str, settings: dict[str, Any]) -> bytes:
    """A noisy picture as a file."""
    noise = np.random.default_rng(3).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((240, 160)).save(out, form, **settings)
    return out.getvalue()


@pytest.mark.seed("S3-85")
@pytest.mark.parametrize(("form", "settings"), FORMATS)
def test_half_a_file(form: str, settings: dict[str, Any]) -> None:
    whole = picture_file(form, settings)
    half = whole[: len(whole) // 2]
    with pytest.raises(BadSample) as caught:
        decode_image(half, "a")
    assert caught.value.kind == "truncated"
    assert caught.value.where == "a"
    with pytest.raises(UserError) as stopped:
        decode_image(half, "a", Decoding(truncated="error"))
    assert not isinstance(stopped.value, BadSample)
    loaded = decode_image(half, "a", Decoding(truncated="load"))
    full = decode_image(whole, "a")
    assert loaded.shape == full.shape
    given, missing = (
        (slice(-20, None), slice(0, 20)) if form == "BMP" else (slice(20), slice(-9, None))
    )
    if "progressive" not in settings:
        assert (loaded[given] == full[given]).mean() > 0.95
        assert (loaded[missing] != full[missing]).any()


_PILLOW_LOADS = """
import io, sys
from PIL import Image, ImageFile
ImageFile.LOAD_TRUNCATED_IMAGES = True
picture = Image.open(io.BytesIO(sys.stdin.buffer.read())).convert("RGB")
sys.stdout.buffer.write(picture.tobytes())
"""


@pytest.mark.seed("S3-85")
@pytest.mark.parametrize("settings", [{}, {"progressive": True}])
def test_what_is_there_is_what_pillow_gives_with_its_switch(settings: dict[str, Any]) -> None:
    whole = picture_file("JPEG", settings)
    half = whole[: len(whole) // 2]
    loaded = decode_image(half, "a", Decoding(truncated="load"))
    pillow = subprocess.run(
        [sys.executable, "-c", _PILLOW_LOADS], input=half, capture_output=True, check=True
    ).stdout
    assert loaded.tobytes() == pillow


@pytest.mark.parametrize("settings", [{}, {"progressive": True}])
@pytest.mark.parametrize("missing", [1, 2, 3, 10, 200])
def test_an_end_that_is_missing_is_seen(settings: dict[str, Any], missing: int) -> None:
    whole = picture_file("JPEG", settings)
    with pytest.raises(BadSample) as caught:
        decode_image(whole[:-missing], "a")
    assert caught.value.kind == "truncated"
    decode_image(whole + b"something behind the end", "a")


def test_damaged_jpegs_are_judged_as_pillow_does() -> None:
    whole, rng, seen = picture_file("JPEG", {}), np.random.default_rng(5), set()
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(2, len(whole), int(rng.integers(1, 5))):
            damaged[place] = rng.integers(256)
        try:
            expected = np.asarray(Image.open(io.BytesIO(damaged)).convert("RGB"))
        except OSError:
            with pytest.raises(BadSample):
                decode_image(bytes(damaged), "a")
            seen.add("bad")
            continue
        np.testing.assert_array_equal(decode_image(bytes(damaged), "a"), expected)
        seen.add("good")
    assert seen == {"good", "bad"}


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"no picture at all, only text" * 9, "unreadable"),
        (picture_file("JPEG", {})[:100], "truncated"),
        (b"\x89PNG\r\n\x1a\n", "unreadable"),
        (b"P5 0 5 255\n", "unreadable"),
        (picture_file("WEBP", {})[:-30], "truncated"),
        (b"BM" + b"\xff" * 60, "truncated"),
    ],
)
def test_the_kind_of_fault(data: bytes, kind: str) -> None:
    for truncated in ("replace", "load"):
        with pytest.raises(BadSample) as caught:
            decode_image(data, "a", Decoding(truncated=truncated))
        assert caught.value.kind == kind


@pytest.mark.seed("S3-85")
def test_threads_with_other_rules_do_not_meet() -> None:
    whole = picture_file("PNG", {})
    half, wrong = whole[: len(whole) // 2], list[str]()

    def work(rule: Any, good: bool) -> None:
        for _ in range(60):
            try:
                decode_image(half, "a", Decoding(truncated=rule))
                loaded = True
            except BadSample:
                loaded = False
            if loaded != good:
                wrong.append(rule)

    threads = [threading.Thread(target=work, args=a) for a in (("load", True), ("replace", False))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
