"""Signatures read from text must be the ones that an import would show."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

from cvtrainer.core.modules import import_roots
from cvtrainer.core.signature import Signatures, Verdict
from cvtrainer.core.symbols import Symbols, Unfound

REAL = [
    "torch.optim.Adam",
    "torch.optim.AdamW",
    "torch.optim.SGD",
    "torch.optim.LBFGS",
    "torch.nn.CrossEntropyLoss",
    "torch.nn.BCEWithLogitsLoss",
    "torch.nn.Linear",
    "torch.nn.Conv2d",
    "torch.optim.lr_scheduler.CosineAnnealingLR",
    "torch.optim.lr_scheduler.OneCycleLR",
    "torch.optim.lr_scheduler.ReduceLROnPlateau",
    "albumentations.Resize",
    "albumentations.HorizontalFlip",
    "torchvision.transforms.v2.Resize",
    "torchvision.transforms.v2.RandomHorizontalFlip",
    "cvtrainer.hooks.EMAHook",
    "cvtrainer.hooks.CheckpointHook",
    "cvtrainer.meters.AccuracyMeter",
    "cvtrainer.data.tensorizer.ImageTensorizer",
    "cvtrainer.data.datasets.image_folder.ImageFolder",
    "cvtrainer.data.stream.LoaderOptions",
]


@pytest.fixture
def signatures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Signatures(Symbols(import_roots()))


def info_of(signatures, tmp_path, text, name="Thing"):
    (tmp_path / "thing.py").write_text(text)
    return signatures.read(f"thing.py:{name}")


@pytest.mark.parametrize("dotted", REAL)
def test_the_text_and_the_import_agree(signatures, dotted):
    info = signatures.read(dotted)
    assert info is not None
    module, _, name = dotted.rpartition(".")
    real = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    assert list(info.parameters) == list(real)
    assert {p for p in info.parameters if info.parameters[p].required} == {
        p for p in real if real[p].default is inspect.Parameter.empty
    }
    assert not info.open


def test_nothing_is_imported():
    code = (
        "import sys\n"
        "from cvtrainer.core.signature import Signatures\n"
        "from cvtrainer.core.symbols import Symbols\n"
        "reader = Signatures(Symbols(()))\n"
        "for name in sys.argv[1:]: assert reader.read(name) is not None, name\n"
        "heavy = {'torch', 'torchvision', 'albumentations', 'numpy', 'cv2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code, *REAL], check=True)


def test_arguments_handed_on_to_a_base_are_known(signatures, tmp_path):
    (tmp_path / "lower.py").write_text(
        "class Lower:\n    def __init__(self, depth: int, width: int = 2): ...\n"
    )
    info = info_of(
        signatures,
        tmp_path,
        "from lower import Lower\n\nclass Thing(Lower):\n"
        "    def __init__(self, name, **kwargs):\n        super().__init__(depth=3, **kwargs)\n",
    )
    assert list(info.parameters) == ["name", "width"]
    assert info.verdict("width") is Verdict.RIGHT
    assert info.verdict("depht") is Verdict.WRONG


def test_swallowed_keywords_are_unknown(signatures, tmp_path):
    info = info_of(
        signatures, tmp_path, "class Thing:\n    def __init__(self, a, **rest):\n        pass\n"
    )
    assert info.verdict("a") is Verdict.RIGHT
    assert info.verdict("b") is Verdict.UNKNOWN


DATACLASS = """
from dataclasses import dataclass, field
@dataclass
class Thing:
    a: int
    b: list[int] = field(default_factory=list)
    hidden: int = field(init=False, default=1)
"""
IN_A_BRANCH = """
try:
    import fast
except ImportError:
    fast = None
if fast:
    class Thing:
        def __init__(self, x): ...
else:
    class Thing:
        def __init__(self, a): ...
"""
NAMED_TUPLE = "from typing import NamedTuple\nclass Thing(NamedTuple):\n    a: int\n"


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        (DATACLASS, "b", "hidden"),
        (NAMED_TUPLE, "a", "c"),
        ("class Thing:\n    def __new__(cls, a=1): return super().__new__(cls)\n", "a", "c"),
        ("def Thing(a, *, b=2): return a\n", "b", "c"),
        (IN_A_BRANCH, "x", "c"),
        ("from torch import nn\nclass Thing(nn.Module):\n    pass\n", None, "c"),
        ("from torch import nn\nclass Thing(nn.Conv2d):\n    pass\n", "padding", "pading"),
    ],
)
def test_kinds_of_targets(signatures, tmp_path, text, right, wrong):
    info = info_of(signatures, tmp_path, text)
    if right:
        assert info.verdict(right) is Verdict.RIGHT
    assert info.verdict(wrong) is Verdict.WRONG


@pytest.mark.parametrize(
    "text",
    [
        "import wild\nclass Thing(wild.Base):\n    pass\n",
        "class Meta(type):\n    def __call__(cls, **words): ...\n"
        "class Thing(metaclass=Meta):\n    pass\n",
        "import functools\n@functools.partial(print)\ndef Thing(a): ...\n",
        "class Thing:\n    def __new__(cls, *args): ...\n",
    ],
)
def test_what_text_cannot_tell_is_unknown(signatures, tmp_path, text):
    assert info_of(signatures, tmp_path, text).verdict("anything") is Verdict.UNKNOWN


def test_large_classes_are_read_like_small_ones(signatures, tmp_path):
    methods = "".join(
        f"    def method_{n}(self):\n        return '''\n    def fake(self): {n}\n'''\n\n"
        for n in range(400)
    )
    text = f"class Thing:\n    SIZE = 3\n\n{methods}    def __init__(self, a, b=1): ...\n"
    info = info_of(signatures, tmp_path, text)
    assert list(info.parameters) == ["a", "b"]
    assert info.literals["SIZE"] == 3
    assert "method_399" in info.methods


def test_class_attributes_and_overridden_methods(signatures):
    meter = signatures.read("cvtrainer.meters.AccuracyMeter")
    assert "accuracy" in meter.literals["PRODUCES"]
    hook = signatures.read("cvtrainer.hooks.EMAHook")
    assert "after_optimize" in hook.methods or "after_step" in hook.methods
    assert "before_save" not in hook.methods


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("torch.optim.Adm", Unfound.MISSING),
        ("torch.optm.Adam", Unfound.MISSING),
        ("math.sin", Unfound.UNKNOWN),
        ("cv2.resize", Unfound.UNKNOWN),
    ],
)
def test_missing_is_told_from_unknown(text, verdict):
    assert Symbols(()).target(text).found is verdict


def test_reexports_aliases_and_stars_are_followed(signatures, tmp_path):
    package = tmp_path / "kit"
    package.mkdir()
    (package / "inner.py").write_text("class Real:\n    def __init__(self, a): ...\n\nOld = Real\n")
    (package / "stars.py").write_text("from kit.inner import *\n")
    (package / "__init__.py").write_text(
        "from .inner import Real as Renamed\nfrom .stars import *\nfrom . import inner\n"
    )
    for name in ("kit.Renamed", "kit.Real", "kit.Old", "kit.inner.Old", "kit:inner.Real"):
        info = signatures.read(name)
        assert info is not None or name == "kit:inner.Real", name
        assert info is None or list(info.parameters) == ["a"]
