"""Tensorizers of lists, sequences, sounds and texts; what they learn, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.data import DataAdapter
from cvtrainer.data.sample import BadSample
from cvtrainer.data.tensorizer import (
    AudioTensorizer,
    BoxTensorizer,
    ImageTensorizer,
    IndexTensorizer,
    KeypointTensorizer,
    LogMelTensorizer,
    MaskTensorizer,
    MultiHotTensorizer,
    OneHotTensorizer,
    ScalarTensorizer,
    SequenceTensorizer,
    Tensorizer,
    TextTensorizer,
    VectorTensorizer,
)
from cvtrainer.data.tensorizer.audio import mel_bands

NAN = float("nan")


class Texts(DataAdapter):
    """Texts with two classes; the last cannot be read."""

    classes = {"bad": 0, "good": 1}  # noqa: RUF012
    texts = ("The cat, the dog.", "THE bird's cat", "好看的 movie 好", None)

    def __len__(self) -> int:
        return len(self.texts)

    def _load_sample(self, idx: int) -> dict[str, Any]:
        if self.texts[idx] is None:
            raise BadSample("gone", kind="text")
        return {"x": self.texts[idx], "target": {"class_id": idx % 2, "note": "cat"}}


def test_multi_hot() -> None:
    many = MultiHotTensorizer(4)
    assert many([0, 2]).tolist() == [1, 0, 1, 0]
    assert many(np.array([], dtype=np.int64)).tolist() == [0, 0, 0, 0]
    with pytest.raises(BadSample, match=r"label 4 is outside 0\.\.3"):
        many([4])
    with pytest.raises(UserError, match="not a list of class numbers: 2"):
        many(2)


def test_vectors_have_one_size() -> None:
    assert VectorTensorizer(2)([1, 2]).tolist() == [1, 2]
    assert VectorTensorizer()(np.arange(3)).dtype == torch.float32
    with pytest.raises(BadSample, match="3 where 2 numbers should be"):
        VectorTensorizer(2)([1, 2, 3])


def test_sequences_are_cut_or_filled_or_left_as_they_are() -> None:
    steps = np.arange(6, dtype=np.float64).reshape(3, 2)
    assert SequenceTensorizer()(steps).tolist() == steps.tolist()
    assert SequenceTensorizer()([1, 2, 3]).shape == (3, 1)
    assert SequenceTensorizer(2)(steps).tolist() == [[0, 1], [2, 3]]
    assert SequenceTensorizer(2, align="end")(steps).tolist() == [[2, 3], [4, 5]]
    longer = SequenceTensorizer(4, pad_value=9)(steps)
    assert longer.tolist() == [[0, 1], [2, 3], [4, 5], [9, 9]]
    assert SequenceTensorizer(4, align="end")(steps).tolist()[0] == [0, 0]
    assert SequenceTensorizer(missing="keep")([1, NAN]).isnan().sum() == 1
    assert SequenceTensorizer(channels=2)(steps).dtype == torch.float32
    assert (SequenceTensorizer().ragged_dim, SequenceTensorizer(3).ragged_dim) == (0, None)
    with pytest.raises(UserError, match="Use align"):
        SequenceTensorizer(align="left")  # type: ignore[arg-type]


def test_sounds_have_channels_first_and_a_length_in_seconds() -> None:
    sound = np.stack([np.ones(10), -np.ones(10) / 2]).astype(np.float32)
    assert AudioTensorizer()(sound).tolist() == [[0.25] * 10]
    assert torch.equal(AudioTensorizer(mono=False)(sound), torch.from_numpy(sound))
    assert AudioTensorizer()(sound[0]).shape == (1, 10)
    fixed = AudioTensorizer(1.5, sample_rate=8)
    assert fixed(sound[0]).tolist() == [[1.0] * 10 + [0.0] * 2]
    assert fixed(np.ones(20, np.float32)).shape == (1, 12)
    assert (AudioTensorizer().ragged_dim, fixed.ragged_dim) == (1, None)
    with pytest.raises(UserError, match="together with the sample_rate"):
        AudioTensorizer(1.5)
    with pytest.raises(UserError, match="not a sound"):
        AudioTensorizer()(np.ones((10, 2)))


def test_log_mel_shows_a_tone_in_its_band() -> None:
    rate = 8000
    mel = LogMelTensorizer(rate, mels=40)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 42) / 2595) - 1)
    for tone in (440.0, 1000.0, 3000.0):
        sound = np.sin(2 * np.pi * tone * np.arange(4000) / rate).astype(np.float32)
        out = mel(sound)
        assert out.shape == (1, 40, 51)
        band = int(out[0, :, 25].argmax())
        assert edges[band] <= tone <= edges[band + 2]
    silence = mel(np.zeros(4000, np.float32))
    torch.testing.assert_close(silence, torch.full_like(silence, float(np.log(1e-6))))
    assert LogMelTensorizer(rate, seconds=1.0)(np.zeros(10)).shape == (1, 64, 101)
    assert mel(np.ones(3, np.float32)).shape == (1, 40, 1)


def test_log_mel_is_the_power_that_a_plain_transform_gives() -> None:
    rng = np.random.default_rng(0)
    sound = rng.uniform(-1, 1, 1000).astype(np.float32)
    mel = LogMelTensorizer(8000, mels=20)
    window = np.zeros(256)
    window[28:228] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 200)
    at = 5 * 80
    piece = np.pad(sound, 128)[at : at + 256] * window
    power = np.abs(np.fft.rfft(piece)) ** 2
    right = np.log(mel_bands(8000, 256, 20).numpy() @ power + 1e-6)
    np.testing.assert_allclose(mel(sound)[0, :, 5], right, rtol=1e-3, atol=1e-3)


def test_words_and_characters() -> None:
    words = TextTensorizer(vocabulary=[])
    assert words.tokens("It's 3 o’clock, 我们看movie2!") == [
        "it's", "3", "o’clock", ",", "我", "们", "看", "movie2", "!",
    ]  # fmt: skip
    assert words.tokens("e\u0301a") == ["\u00e9a"]
    assert TextTensorizer(vocabulary=[], lowercase=False).tokens("AB c") == ["AB", "c"]
    chars = TextTensorizer(level="char", vocabulary=["a", " "])
    assert chars(" a\n\tb好").tolist() == [2, 3, 1, 1]
    with pytest.raises(BadSample, match="the text is empty"):
        chars(" \n")
    with pytest.raises(UserError, match="not a text: 3"):
        chars(3)


def test_the_vocabulary_is_learnt_the_same_way_each_time(tmp_path: Path) -> None:
    text = TextTensorizer()
    tensorizer = Tensorizer({"x": text, "class_id": OneHotTensorizer(), "note": lambda v: v})
    with pytest.raises(UserError, match="no vocabulary yet"):
        text("cat")
    tensorizer.learn(Texts())
    assert text.vocabulary[:3] == ("the", "cat", "好")
    assert text.vocabulary[3:] == (",", ".", "bird's", "dog", "movie", "的", "看")
    assert text.size == 12
    made = tensorizer(Texts()[0])
    assert made["x"].tolist() == [2, 3, 5, 2, 8, 6]
    assert made["target"]["class_id"].tolist() == [1, 0]
    assert text("cat fish").tolist() == [3, 1]
    text.save(tmp_path / "words.txt")
    from_file = TextTensorizer(vocabulary=tmp_path / "words.txt", max_length=2)
    assert from_file.vocabulary == text.vocabulary
    assert from_file("the cat the").tolist() == [2, 3]
    few = Tensorizer({"x": TextTensorizer(max_tokens=4, min_count=2)})
    few.learn(Texts())
    assert few.state_dict() == {"x": {"vocabulary": ["the", "cat"]}}


def test_what_was_learnt_is_taken_over_and_never_contradicted() -> None:
    trained = Tensorizer({"x": TextTensorizer(), "class_id": OneHotTensorizer()}, unmapped="pass")
    trained.learn(Texts())
    state = trained.state_dict()
    assert state["class_id"] == {"num_classes": 2}
    again = Tensorizer({"x": TextTensorizer(), "class_id": OneHotTensorizer()}, unmapped="pass")
    again.load_state_dict(state)
    assert again(Texts()[2])["x"].tolist() == trained(Texts()[2])["x"].tolist()
    other = Tensorizer({"x": TextTensorizer(vocabulary=["dog"])})
    other.learn(Texts())
    assert other.state_dict() == {"x": {"vocabulary": ["dog"]}}
    with pytest.raises(UserError, match="field x: the vocabulary is not the one"):
        other.load_state_dict(state)
    with pytest.raises(UserError, match="num_classes is 3, but training had 2"):
        Tensorizer({"class_id": OneHotTensorizer(3)}).load_state_dict(state)
    with pytest.raises(UserError, match="number of classes is not known"):
        OneHotTensorizer()(1)
    with pytest.raises(UserError, match="training set has no field z"):
        Tensorizer({"z": TextTensorizer()}).learn(Texts())


@pytest.mark.parametrize(
    ("part", "value", "kind", "words"),
    [
        (IndexTensorizer(3), 3, "label", "label 3 is outside"),
        (IndexTensorizer(3), NAN, "label", "must be a class number"),
        (OneHotTensorizer(3), -1, "label", "label -1 is outside"),
        (ScalarTensorizer(), NAN, "value", "a value is nan"),
        (ScalarTensorizer(), [1.0, float("inf")], "value", "a value is inf"),
        (VectorTensorizer(2), [1.0], "size", "2 numbers should be"),
        (BoxTensorizer(), [[0, 0, NAN, 1]], "annotation", "row 0 of the boxes"),
        (BoxTensorizer(), [[0, 0, 1]], "annotation", "rows of 4 numbers"),
        (BoxTensorizer(), [[0, 0, 1, 1], [0]], "annotation", "rows of 4 numbers"),
        (BoxTensorizer(), [[5, 0, 1, 1]], "annotation", "ends before it begins"),
        (KeypointTensorizer(2), [[1, 2]], "annotation", "1 keypoints instead of 2"),
        (KeypointTensorizer(), [[NAN, 2]], "annotation", "row 0 of the keypoints"),
        (MaskTensorizer(2), np.full((2, 2), 7), "label", "mask value 7"),
        (SequenceTensorizer(), [1.0, NAN], "value", "step 1 is missing"),
        (SequenceTensorizer(), [], "empty", "the sequence is empty"),
        (SequenceTensorizer(channels=2), [1.0], "size", "1 channels instead of 2"),
        (AudioTensorizer(), [], "sound", "the sound is empty"),
        (AudioTensorizer(), [NAN, 0.0], "sound", "not a finite number"),
        (TextTensorizer(vocabulary=[]), "", "empty", "the text is empty"),
    ],
)
def test_a_wrong_value_is_a_bad_sample_with_field_sample_and_file(
    part: Callable[[Any], torch.Tensor], value: Any, kind: str, words: str
) -> None:
    tensorizer = Tensorizer({"f": part})
    meta = {"index": 5, "path": "data/a.csv"}
    with pytest.raises(BadSample, match=words) as error:
        tensorizer({"target": {"f": value}, "meta": meta})
    assert error.value.kind == kind
    assert str(error.value).startswith("data/a.csv (sample 5): field f: ")


def test_who_may_run_in_threads_and_whose_length_differs() -> None:
    parts = {"x": ImageTensorizer(), "boxes": BoxTensorizer(), "text": TextTensorizer()}
    ours = Tensorizer({**parts, "target.audio": AudioTensorizer()})
    assert ours.thread_safe is True
    assert ours.ragged == {"boxes": 0, "text": 0, "audio": 1}
    assert Tensorizer({**parts, "own": lambda v: v}).thread_safe is False


def test_bands_of_a_sound_as_a_series_on_one_scale() -> None:
    sound = np.sin(np.arange(2000) / 3.0).astype(np.float32)
    picture = LogMelTensorizer(8000, mels=20)
    series = LogMelTensorizer(8000, mels=20, layout="series", normalize={"mean": -4.0, "std": 2.0})
    assert (picture.ragged_dim, series.ragged_dim) == (2, 0)
    torch.testing.assert_close(series(sound), (picture(sound)[0].T + 4.0) / 2.0)
    assert LogMelTensorizer(8000, layout="series", seconds=0.1).ragged_dim is None
    with pytest.raises(UserError, match="picture or series"):
        LogMelTensorizer(8000, layout="rows")  # type: ignore[arg-type]
    for wrong in ({"std": 0.0}, {"middle": 1.0}):
        with pytest.raises(UserError, match="std above 0"):
            LogMelTensorizer(8000, normalize=wrong)
