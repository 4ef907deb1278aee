"""Folders of sounds: classes from folders or names, speakers as groups, one rate for all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.audio_folder import AudioFolder
from cvtrainer.data.sample import BadSample
from tests.data.sounds import wav_bytes

TONE = np.sin(np.arange(80) / 5).astype(np.float32) / 2


def write(path: Path, samples: np.ndarray, rate: int = 8000) -> None:
    """That sound in that file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav_bytes(samples, rate))


@pytest.fixture
def takes(tmp_path: Path) -> Path:
    """Two words by two speakers, two takes each, names like `no_ann_1.wav`."""
    for word in ("yes", "no"):
        for speaker in ("ann", "bo"):
            for take in (0, 1):
                write(tmp_path / f"{word}_{speaker}_{take}.wav", TONE * (take + 1))
    (tmp_path / "README.txt").write_text("two words")
    return tmp_path


def test_class_folders(tmp_path: Path) -> None:
    write(tmp_path / "dog" / "1.wav", TONE)
    write(tmp_path / "cat" / "b" / "2.WAV", np.stack([TONE, TONE]), 16000)
    sounds = AudioFolder(tmp_path)
    assert sounds.classes == {"cat": 0, "dog": 1}
    assert sounds.groups is None
    first, second = sounds[0], sounds[1]
    assert first["x"].shape == (2, 80)
    assert second["x"].shape == (80,)
    np.testing.assert_allclose(second["x"], TONE, atol=1e-4)
    assert first["meta"]["sample_rate"] == 16000
    assert second["target"] == {"class_id": 1}
    assert second["meta"]["path"] == str(tmp_path / "dog/1.wav")


@pytest.mark.parametrize(
    "pattern",
    ["{label}_{speaker}_{take}.wav", r"(?P<label>[a-z]+)_(?P<group>\w+)_\d\.wav"],
)
def test_names_tell_class_and_speaker(takes: Path, pattern: str) -> None:
    sounds = AudioFolder(takes, pattern=pattern)
    assert len(sounds) == 8
    assert sounds.class_names == ("no", "yes")
    assert sounds.labels is not None
    assert sounds.labels.tolist() == [0] * 4 + [1] * 4
    assert sounds.groups == ["ann", "ann", "bo", "bo"] * 2
    part = AudioFolder(takes.parent, split=takes.name, pattern=pattern)
    assert part.root == takes
    bound = AudioFolder(takes, pattern=pattern, classes=["yes", "maybe", "no"])
    assert bound[0]["target"]["class_id"] == 2


def test_folders_in_a_pattern(tmp_path: Path) -> None:
    for speaker in ("ann", "bo"):
        for word in ("no", "yes"):
            write(tmp_path / speaker / f"{word}1.wav", TONE)
    sounds = AudioFolder(tmp_path, pattern="{speaker}/{label}1.wav")
    assert sounds.groups == ["ann", "ann", "bo", "bo"]
    assert sounds.class_names == ("no", "yes")


def test_one_rate_and_one_channel_for_all(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.wav", np.stack([TONE, -TONE]), 8000)
    write(tmp_path / "b" / "2.wav", TONE, 16000)
    sounds = AudioFolder(tmp_path, sample_rate=4000, mono=True)
    assert [s["x"].shape for s in (sounds[0], sounds[1])] == [(40,), (20,)]
    assert [s["meta"]["sample_rate"] for s in (sounds[0], sounds[1])] == [4000, 4000]
    assert np.abs(sounds[0]["x"]).max() < 1e-4


def test_a_broken_sound_is_a_bad_sample(takes: Path) -> None:
    file = takes / "no_ann_0.wav"
    file.write_bytes(file.read_bytes()[:60])
    for rate in (None, 4000):
        sounds = AudioFolder(takes, pattern="{label}_{speaker}_{take}.wav", sample_rate=rate)
        with pytest.raises(BadSample, match="cut off") as error:
            sounds[0]
        assert str(file) in str(error.value)


def test_what_is_wrong_with_the_folder_is_said(takes: Path, tmp_path_factory: Path) -> None:
    write(takes / "noise.wav", TONE)
    with pytest.raises(UserError, match=r"noise\.wav: the path does not fit"):
        AudioFolder(takes, pattern="{label}_{speaker}_{take}.wav")
    with pytest.raises(UserError, match="does not say where the class is"):
        AudioFolder(takes, pattern="{speaker}_{take}.wav")
    with pytest.raises(UserError, match="no class folders"):
        AudioFolder(takes)
    with pytest.raises(UserError, match="no such data folder"):
        AudioFolder(takes / "gone")
    (takes / "noise.wav").unlink()
    with pytest.raises(UserError, match="class no is not among the 1 known"):
        AudioFolder(takes, pattern="{label}_{speaker}_{take}.wav", classes=["yes"])


def test_spoken_digits(data_sets: Path) -> None:
    recordings = data_sets / "spoken-digits-wav" / "recordings"
    sounds = AudioFolder(recordings, pattern="{label}_{speaker}_{take}.wav")
    assert len(sounds) == 300
    assert sounds.class_names == tuple("0123456789")
    assert sounds.labels is not None
    assert np.bincount(sounds.labels).tolist() == [30] * 10
    assert sounds.groups is not None
    assert {name: sounds.groups.count(name) for name in set(sounds.groups)} == {
        "jackson": 100,
        "nicolas": 100,
        "theo": 100,
    }
    lengths = [sample["x"].shape[0] / sample["meta"]["sample_rate"] for sample in sounds]
    assert 0.14 <= min(lengths) < max(lengths) <= 0.88
    assert all(sample["meta"]["sample_rate"] == 8000 for sample in (sounds[0], sounds[299]))
