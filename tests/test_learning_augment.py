"""Variants: seeded, still recordings, and no wilder than stated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightsleeper.learning.augment import augment, cut_piece, piece_lengths_s
from lightsleeper.recordings import Recording

RATE_HZ = 16_000.0


def _tone(frequency_hz: float, samples: int = 8000) -> Recording:
    phase = 2.0 * np.pi * frequency_hz * np.arange(samples) / RATE_HZ
    return Recording((0.5 * np.sin(phase)).astype(np.float32), RATE_HZ, "bell", "bells", 3, "bell/1.wav")


def _peak_hz(recording: Recording) -> float:
    windowed = recording.samples * np.hanning(recording.samples.size)
    spectrum = np.abs(np.fft.rfft(windowed, 1 << 16))
    return float(np.argmax(spectrum)) * recording.rate_hz / (1 << 16)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_a_variant_is_a_recording_of_the_same_thing_at_another_speed(seed: int) -> None:
    original = _tone(1000.0)
    variant = augment(original, np.random.default_rng(seed))
    assert variant.samples.dtype == np.float32
    assert np.isfinite(variant.samples).all()
    for name in ("rate_hz", "label", "source", "fold", "file"):
        assert getattr(variant, name) == getattr(original, name)
    stretch = variant.samples.size / original.samples.size
    assert np.exp(-0.25) - 1e-3 <= stretch <= np.exp(0.25) + 1e-3
    assert _peak_hz(variant) * stretch == pytest.approx(1000.0, rel=0.01)


def test_seeds_decide_and_the_original_stays() -> None:
    original = _tone(1000.0)
    kept = original.samples.copy()
    one, same, other = (augment(original, np.random.default_rng(seed)).samples for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert one.shape != other.shape or not np.array_equal(one, other)
    np.testing.assert_array_equal(original.samples, kept)


def test_half_of_the_variants_ring_on_in_a_room() -> None:
    """After a click, a room's tail carries energy; the dry tone filter ends within a few samples."""
    click = np.zeros(8000, np.float32)
    click[1000] = 1.0
    recording = Recording(click, RATE_HZ, "click", "click", None, "click/1.wav")
    rings = []
    for seed in range(200):
        samples = augment(recording, np.random.default_rng(seed)).samples
        peak = int(np.argmax(np.abs(samples)))
        tail = np.square(samples[peak + 200 : peak + 1400]).sum() / np.square(samples).sum()
        rings.append(tail > 1e-4)
    assert 75 < sum(rings) < 125


def test_tone_colour_is_tilted_both_ways_within_limits() -> None:
    """Gain at 400 Hz over gain at 6 kHz: 20 log10 of |1 - a z^-1| lies within 12 dB."""
    rng = np.random.default_rng(0)
    noise = Recording(rng.standard_normal(16_000).astype(np.float32), RATE_HZ, "hiss", "hiss", None, "hiss/1.wav")
    tilts_db = []
    for seed in range(40):
        spectrum = np.abs(np.fft.rfft(augment(noise, np.random.default_rng(seed)).samples)) ** 2
        tenth = len(spectrum) // 20
        low, high = spectrum[tenth : 2 * tenth].mean(), spectrum[-6 * tenth : -5 * tenth].mean()
        tilts_db.append(10.0 * np.log10(low / high))
    assert max(tilts_db) > 3.0
    assert min(tilts_db) < -3.0
    assert max(np.abs(tilts_db)) < 12.5


def _knocks(first_s: float, *, lengths_s: tuple[float, ...], gap_s: float = 0.3) -> Recording:
    """Bursts of noise with silence between them."""
    rng = np.random.default_rng(0)
    parts = [np.zeros(round(first_s * RATE_HZ))]
    for length_s in lengths_s:
        parts += [rng.standard_normal(round(length_s * RATE_HZ)), np.zeros(round(gap_s * RATE_HZ))]
    return Recording(np.concatenate(parts).astype(np.float32), RATE_HZ, "knock", "knock", 2, "knock/1.wav")


def test_pieces_are_as_short_as_half_the_shortest_sound_and_as_long_as_the_median() -> None:
    recordings = [_knocks(0.1, lengths_s=(span_s,)) for span_s in (0.2, 0.8, 3.0)]
    assert piece_lengths_s(recordings) == pytest.approx((0.1, 0.8))
    assert piece_lengths_s([_knocks(0.1, lengths_s=(0.01,))]) == pytest.approx((0.03, 0.03)), "30 ms at least"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_a_piece_begins_with_sound_and_is_of_the_asked_length(seed: int) -> None:
    original = _knocks(0.5, lengths_s=(0.1, 0.2, 0.4))
    piece = cut_piece(original, (0.05, 0.4), np.random.default_rng(seed))
    assert 0.05 * RATE_HZ - 1 <= piece.samples.size <= 0.4 * RATE_HZ + 1
    assert piece.samples.dtype == np.float32
    head = piece.samples[:160]
    assert np.square(head).mean() > 0.1, "no piece is a pause between two knocks"
    for name in ("rate_hz", "label", "source", "fold", "file"):
        assert getattr(piece, name) == getattr(original, name)


def test_pieces_come_from_the_onset_and_from_within_and_some_die_away() -> None:
    original = _knocks(0.5, lengths_s=(2.0,))
    pieces = [cut_piece(original, (0.2, 0.4), np.random.default_rng(seed)).samples for seed in range(200)]
    onset = round(0.5 * RATE_HZ)
    # The decay starts at 1, so that the first sample tells where the piece was cut.
    assert 60 < sum(bool(piece[0] == original.samples[onset]) for piece in pieces) < 110
    falls_db = [10 * np.log10(np.square(p[: p.size // 8]).mean() / np.square(p[-p.size // 8 :]).mean()) for p in pieces]
    assert min(falls_db) < 2.0
    assert 20.0 < max(falls_db) < 35.0


def test_a_sound_shorter_than_its_piece_stays_whole_and_seeds_decide() -> None:
    original = _knocks(0.5, lengths_s=(0.1,))
    one, same, other = (cut_piece(original, (0.3, 0.31), np.random.default_rng(seed)).samples for seed in (1, 1, 2))
    assert one.size >= 0.3 * RATE_HZ
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
