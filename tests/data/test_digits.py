"""The handwritten digits: real, offline, and split the same way each time."""

from __future__ import annotations

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data import Digits


def test_the_split_is_stratified_disjoint_and_always_the_same() -> None:
    train, val, whole = Digits(), Digits("val"), Digits("all")
    assert (len(train), len(val), len(whole)) == (1438, 359, 1797)
    shares = np.bincount(val.labels) / np.bincount(whole.labels)
    assert np.all(np.abs(shares - 0.2) < 0.005)
    names = [{d[k]["meta"]["path"] for k in range(len(d))} for d in (train, val)]
    assert not names[0] & names[1]
    assert names[1] == {Digits("val")[k]["meta"]["path"] for k in range(len(val))}
    assert {Digits("val", seed=1)[k]["meta"]["path"] for k in range(len(val))} != names[1]


def test_pictures_are_what_was_asked_for() -> None:
    assert Digits(size=28)[0]["x"].shape == (28, 28, 3)
    grey = Digits(size=16, color="grey")[0]
    assert grey["x"].shape == (16, 16, 1)
    assert grey["x"].dtype == np.uint8
    assert grey["x"].max() > 200
    assert 0 <= grey["target"]["class_id"] < 10


def test_wrong_words_are_named() -> None:
    with pytest.raises(UserError, match="no split 'dev'"):
        Digits("dev")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="val_fraction is 2"):
        Digits(val_fraction=2)
