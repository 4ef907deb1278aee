"""WAV files: every way of writing samples gives the same sound, and a broken file says how."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from cvtrainer.data.decode.sound import decode_sound, resample
from cvtrainer.data.sample import BadSample
from tests.data.sounds import wav_bytes

TONE = (0.5 * np.sin(np.arange(400) / 9.0)).astype(np.float32)


@pytest.mark.parametrize(
    ("bits", "floating", "error"),
    [
        (8, False, 1e-2),
        (16, False, 1e-4),
        (24, False, 1e-6),
        (32, False, 1e-7),
        (32, True, 0.0),
        (64, True, 1e-7),
    ],
)
@pytest.mark.parametrize("extensible", [False, True])
def test_every_width_gives_the_same_sound(
    bits: int, floating: bool, error: float, extensible: bool
) -> None:
    data = wav_bytes(TONE, 8000, bits=bits, floating=floating, extensible=extensible)
    sound = decode_sound(data, "a.wav")
    assert sound.rate == 8000
    assert sound.samples.dtype == np.float32
    assert sound.samples.shape == (400,)
    np.testing.assert_allclose(sound.samples, TONE, atol=error)


def test_extremes_of_whole_numbers_stay_within_one() -> None:
    for bits, low in ((8, b"\x00"), (16, b"\x00\x80"), (24, b"\x00\x00\x80")):
        data = wav_bytes(TONE[:1], 8000, bits=bits)
        assert decode_sound(data[: -len(low)] + low, "a.wav").samples.tolist() == [-1.0]
    loud = wav_bytes(np.array([3.0, -2.0], np.float32), 8000, bits=32, floating=True)
    assert decode_sound(loud, "a.wav").samples.tolist() == [1.0, -1.0]


def test_channels_and_their_mean() -> None:
    both = np.stack([TONE, -TONE / 2])
    data = wav_bytes(both, 8000, bits=32, floating=True)
    assert np.array_equal(decode_sound(data, "a.wav").samples, both)
    mean = decode_sound(data, "a.wav", mono=True).samples
    np.testing.assert_allclose(mean, TONE / 4, atol=1e-7)


def test_what_the_standard_library_writes_is_read(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(struct.pack("<4h", 0, 16384, -16384, 32767))
    sound = decode_sound((tmp_path / "a.wav").read_bytes(), "a.wav")
    assert sound.rate == 16000
    np.testing.assert_allclose(sound.samples, [[0, -0.5], [0.5, 32767 / 32768]])


def test_other_chunks_are_passed_over_and_an_unknown_length_takes_the_rest() -> None:
    plain = wav_bytes(TONE, 8000, bits=16)
    note = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    assert np.array_equal(
        decode_sound(plain[:12] + note + plain[12:], "a").samples, decode_sound(plain, "a").samples
    )
    streamed = plain.replace(b"data" + struct.pack("<I", 800), b"data\xff\xff\xff\xff")
    assert streamed != plain
    assert decode_sound(streamed, "a").samples.shape == (400,)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"not sound at all", "not a WAV file"),
        (wav_bytes(TONE, 8000, bits=16)[:-100], "cut off: 700 of 800 bytes"),
        (wav_bytes(TONE, 8000, bits=16)[:36], "ends before the sound begins"),
        (wav_bytes(TONE, 8000, bits=16)[:25], "cut off inside its header"),
        (wav_bytes(TONE[:0], 8000, bits=16), "holds no sound"),
        (wav_bytes(TONE, 8000, bits=16).replace(b"\x10\0\0\0\1\0", b"\x10\0\0\0\7\0"), "mu-law"),
        (wav_bytes(TONE, 0, bits=16), "0 samples a second"),
        (wav_bytes(np.array([np.nan], np.float32), 8, bits=32, floating=True), "finite number"),
    ],
)
def test_broken_files_are_bad_samples_that_name_the_file(data: bytes, words: str) -> None:
    with pytest.raises(BadSample, match=words) as error:
        decode_sound(data, "takes/a.wav")
    assert error.value.kind == "sound"
    assert error.value.where == "takes/a.wav"


def test_garbage_is_never_anything_but_a_bad_sample() -> None:
    rng = np.random.default_rng(0)
    good = bytearray(wav_bytes(TONE, 8000, bits=16))
    for _ in range(300):
        spoiled = bytearray(good)
        for place in rng.integers(0, 44, 3):
            spoiled[place] = rng.integers(0, 256)
        try:
            sound = decode_sound(bytes(spoiled), "a")
        except BadSample:
            continue
        assert sound.samples.dtype == np.float32
        assert np.abs(sound.samples).max() <= 1.0


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 16000), (44100, 16000), (16000, 11025)])
def test_a_tone_keeps_its_pitch_and_place_at_another_rate(rate: int, wanted: int) -> None:
    seconds = 0.25
    tone = np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate).astype(np.float32)
    made = resample(tone, rate, wanted)
    assert made.shape == (-(-tone.size * wanted // rate),)
    right = np.sin(2 * np.pi * 440 * np.arange(made.size) / wanted)
    inner = slice(100, -100)
    np.testing.assert_allclose(made[inner], right[inner], atol=2e-3)
    level = resample(np.ones((2, 4000), np.float32), rate, wanted)
    np.testing.assert_allclose(level[:, 200:-200], 1.0, atol=1e-5)


def test_what_the_new_rate_cannot_hold_is_silenced() -> None:
    high = np.sin(2 * np.pi * 7000 * np.arange(8000) / 16000).astype(np.float32)
    assert np.abs(resample(high, 16000, 8000)[100:-100]).max() < 0.01


def test_decoding_to_a_stated_rate() -> None:
    sound = decode_sound(wav_bytes(TONE, 8000, bits=16), "a", rate=4000)
    assert sound.rate == 4000
    assert sound.samples.shape == (200,)


def test_a_long_sound_is_resampled_in_blocks_without_seams() -> None:
    tone = np.sin(2 * np.pi * 100 * np.arange(30000) / 8000).astype(np.float32)
    made = resample(np.stack([tone, -tone]), 8000, 16000)
    assert made.shape == (2, 60000)
    right = np.sin(2 * np.pi * 100 * np.arange(60000) / 16000)
    np.testing.assert_allclose(made[0, 100:-100], right[100:-100], atol=2e-3)
    np.testing.assert_array_equal(made[1], -made[0])
