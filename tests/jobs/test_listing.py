"""`cvtrainer list`: every part with a description, and nothing imported for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cvtrainer.core.catalog import REGISTRIES
from cvtrainer.core.errors import UserError
from cvtrainer.jobs.listing import list_parts


def test_every_part_has_a_description() -> None:
    """Each catalogue entry is found in its source and says what it is."""
    shelves = list_parts()
    own = [
        part for shelf in shelves for part in shelf.parts if part.target.startswith("cvtrainer.")
    ]
    assert not [part.target for part in own if not part.summary]
    assert len(own) == sum(
        target.startswith("cvtrainer.")
        for registry in REGISTRIES.values()
        for _, target in registry.items()
    )
    assert len(own) > 30


def test_parts_of_networks_tell_what_they_are() -> None:
    """As their classes say it, inherited or not."""
    told = {part.name: part.capabilities for part in list_parts("heads")[0].parts}
    assert told["multiclass"] == told["detector"] == ("exportable", "quantisable", "compilable")
    told = {part.name: part.capabilities for part in list_parts("models")[0].parts}
    assert told["torchvision_detector"] == ()
    assert told["torchvision_segmenter"] == ("exportable", "compilable")
    assert not any(part.capabilities for part in list_parts("hooks")[0].parts)


@pytest.mark.parametrize("word", ["hook", "hooks"])
def test_one_kind(word: str) -> None:
    """A kind may be said in the plural."""
    (shelf,) = list_parts(word)
    assert shelf.kind == "hook"
    assert {"ema", "checkpoint", "progress_bar"} <= {part.name for part in shelf.parts}


def test_an_unknown_kind_is_refused_with_the_nearest() -> None:
    """A slip of the finger gets the word that was meant."""
    with pytest.raises(UserError, match="Did you mean hooks"):
        list_parts("hoks")
    with pytest.raises(UserError, match="optimizer"):
        list_parts("zzzzzz")


def test_listing_imports_no_torch() -> None:
    """The listing reads text."""
    code = (
        "import sys\n"
        "from cvtrainer.jobs.listing import list_parts\n"
        "list_parts()\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
