"""Names of parts: built-in, registered, announced by a plug-in, and the catalog's promises."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

from cvtrainer.core.catalog import REGISTRIES
from cvtrainer.core.errors import UserError
from cvtrainer.core.locate import import_target
from cvtrainer.core.registry import Registry

ENTRIES = [
    (kind, name) for kind, registry in REGISTRIES.items() for name in sorted(registry._builtin)
]


class PictureModel:
    """Something to register."""


def test_register_uses_the_class_name_and_both_decorators_work():
    registry = Registry("model", {})
    assert registry.register()(PictureModel) is PictureModel
    registry.register_module(name="pictures")(PictureModel)
    target = f"{PictureModel.__module__}:PictureModel"
    assert registry.get("picture_model") == registry.get("pictures") == target
    assert registry.get("PictureModel") == target
    assert registry.names() == ["picture_model", "pictures"]
    assert "other" not in registry


def test_the_kind_may_be_left_out_of_a_class_name():
    registry = Registry("tensorizer", {"image": "somewhere:ImageTensorizer"})
    assert registry.get("ImageTensorizer") == "somewhere:ImageTensorizer"
    assert Registry("backbone", {"resnet18": "a:ResNet18"}).get("ResNet18") == "a:ResNet18"


def test_one_name_twice_names_both_places():
    registry = Registry("loss", {"dice": "first.place:Dice"})
    with pytest.raises(UserError) as caught:
        registry.register("dice")(PictureModel)
    assert "first.place:Dice" in str(caught.value)
    assert f"{PictureModel.__module__}:PictureModel" in str(caught.value)


def test_registering_the_same_class_again_is_no_error():
    registry = Registry("loss", {})
    registry.register("dice")(PictureModel)
    registry.register("dice")(PictureModel)
    assert registry.names() == ["dice"]


def test_plugins_are_read_only_when_needed(monkeypatch):
    asked = []

    def entry_points(*, group):
        asked.append(group)
        point = importlib.metadata.EntryPoint("tilted", "plug.in:Tilted", group)
        return importlib.metadata.EntryPoints([point])

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    registry = Registry("hook", {"ema": "a:B"})
    assert registry.get("ema") == "a:B"
    assert asked == []
    assert registry.get("tilted") == "plug.in:Tilted"
    assert registry.names() == ["ema", "tilted"]
    assert asked == ["cvtrainer.hooks"]


def test_a_locally_registered_class_can_be_located():
    class Hidden:
        pass

    REGISTRIES["task"].register("hidden_for_this_test")(Hidden)
    target = REGISTRIES["task"].get("hidden_for_this_test")
    assert target is not None
    assert import_target(target) is Hidden


def test_listing_imports_no_part():
    code = (
        "import sys\n"
        "from cvtrainer.core.catalog import REGISTRIES\n"
        "names = [registry.names() for registry in REGISTRIES.values()]\n"
        "parts = {name.partition('.')[2].partition('.')[0] for name in sys.modules\n"
        "         if name.startswith('cvtrainer.')}\n"
        "assert parts <= {'core'}, parts\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
@pytest.mark.seed("S0-109")
def test_every_catalog_entry_can_be_imported(kind, name):
    target = REGISTRIES[kind].get(name)
    assert target is not None
    assert callable(import_target(target))


def test_the_catalog_is_not_empty_by_accident():
    assert len(ENTRIES) >= 15
