"""Synthetic household sounds: one function per class, each clip with random parameters.

Each takes (sample count, rate in Hz, random generator) and returns shape (count,), float64, of any level. The models
are plausible, not measured: they are there to run the whole chain without recordings; figures made with them say so.
"""

from collections.abc import Callable

import numpy as np
from scipy import signal

from lightsleeper.recordings.resonance import (
    Wave,
    add_at,
    burst,
    formants,
    glottal_pulses,
    log_uniform,
    struck_modes,
)
from lightsleeper.recordings.textures import appliance, running_water
from lightsleeper.recordings.textures import rain as rain_texture

__all__ = ["HOUSEHOLD_SOUNDS"]

# First three formants of ten vowels in Hz, averages over men: G. E. Peterson and H. L. Barney, JASA 24(2), 1952.
VOWELS_HZ = (
    (270, 2290, 3010),
    (390, 1990, 2550),
    (530, 1840, 2480),
    (660, 1720, 2410),
    (730, 1090, 2440),
    (570, 840, 2410),
    (440, 1020, 2240),
    (300, 870, 2240),
    (640, 1190, 2390),
    (490, 1350, 1690),
)
# Transverse modes of a free bar: N. H. Fletcher and T. D. Rossing, The Physics of Musical Instruments, chapter 2.
FREE_BAR_RATIOS = np.array([1.0, 2.756, 5.404, 8.933])


def glass_breaking(count: int, rate_hz: float, rng: np.random.Generator) -> Wave:
    """Noise burst of the impact, then a thinning shower of fragments, each a few high short modes (modal synthesis)."""
    sound = np.zeros(count)
    impact = _start(0.3, rate_hz, rng)
    add_at(sound, impact, burst(0.001, log_uniform(0.005, 0.04, rng).item(), (300, 7000), rate_hz, rng))
    pane_hz = log_uniform(600, 2500, rng).item() * np.sort(rng.uniform(1, 4, 5))
    pane = struck_modes(pane_hz, log_uniform(0.005, 0.04, rng, 5), rng.uniform(0.1, 0.4, 5), rate_hz)
    add_at(sound, impact, pane)
    thinning_s, lowest_hz = rng.uniform(0.1, 0.5), log_uniform(900, 3000, rng).item()
    shower = rng.uniform(0.2, 0.8)
    for delay_s in rng.exponential(thinning_s, rng.integers(20, 150)):
        modes = int(rng.integers(2, 6))
        frequencies_hz = log_uniform(lowest_hz, 7500, rng, modes)
        gains = rng.lognormal(-1.0, 0.8) * np.exp(-0.5 * delay_s / thinning_s) * rng.uniform(0.2, 1.0, modes) * shower
        piece = struck_modes(frequencies_hz, log_uniform(0.004, 0.1, rng, modes), gains, rate_hz)
        add_at(sound, impact + round(delay_s * rate_hz), piece)
    return sound


def cutlery_clatter(count: int, rate_hz: float, rng: np.random.Generator) -> Wave:
    """Metal on metal or on a plate: bars struck several times, as bright and inharmonic as glass but ringing longer."""
    sound = np.zeros(count)
    bars_hz = log_uniform(900, 5000, rng, int(rng.integers(1, 5)))
    position = _start(0.3, rate_hz, rng)
    for _ in range(int(rng.integers(3, 16))):
        base_hz = float(rng.choice(bars_hz)) * rng.uniform(0.98, 1.02)
        frequencies_hz = base_hz * FREE_BAR_RATIOS * rng.uniform(0.97, 1.03, 4)
        decays_s = log_uniform(0.015, 0.2, rng) * np.array([1.0, 0.7, 0.5, 0.3])
        gain = rng.lognormal(-0.5, 0.6)
        add_at(sound, position, struck_modes(frequencies_hz, decays_s, gain * rng.uniform(0.2, 1.0, 4), rate_hz))
        add_at(sound, position, gain * burst(0.0005, 0.003, (1000, 7000), rate_hz, rng))
        position += round(log_uniform(0.02, 0.3, rng).item() * rate_hz)
    return sound


def door_knock(count: int, rate_hz: float, rng: np.random.Generator) -> Wave:
    """Two to five knocks on a panel of wood: low, strongly damped modes and the click of the knuckle."""
    modes = int(rng.integers(5, 10))
    frequencies_hz = log_uniform(80, 1200, rng, modes)
    decays_s = log_uniform(0.01, 0.05, rng, modes) * (300 / frequencies_hz) ** 0.3
    sound = np.zeros(count)
    position, spacing_s = _start(0.3, rate_hz, rng), rng.uniform(0.12, 0.4)
    for _ in range(int(rng.integers(2, 6))):
        strength = rng.lognormal(0.0, 0.25)
        knock = struck_modes(frequencies_hz, decays_s, strength * rng.uniform(0.3, 1.0, modes), rate_hz)
        add_at(sound, position, knock)
        add_at(sound, position, 0.5 * strength * burst(0.0005, 0.004, (500, 4000), rate_hz, rng))
        position += round(spacing_s * rng.uniform(0.9, 1.1) * rate_hz)
    return sound


def dog_bark(count: int, rate_hz: float, rng: np.random.Generator) -> Wave:
    """One to four barks: rough pulses whose pitch rises and falls, through three formants scaled by the dog's size."""
    size, pitch_hz = rng.uniform(0.7, 1.5), log_uniform(200, 700, rng).item()
    centres_hz = np.array([650.0, 1400.0, 2800.0]) * size
    breath = rng.uniform(0.2, 0.8)
    sound = np.zeros(count)
    position = _start(0.3, rate_hz, rng)
    for _ in range(int(rng.integers(1, 5))):
        length = round(rng.uniform(0.1, 0.3) * rate_hz)
        arch = np.sin(np.pi * np.linspace(0.1, 1.0, length))
        source = glottal_pulses(pitch_hz * (0.7 + 0.6 * arch), rate_hz, rng, breath=breath)
        bark = formants(source, centres_hz * rng.uniform(0.95, 1.05, 3), (150, 200, 350), rate_hz)
        add_at(sound, position, rng.lognormal(0.0, 0.2) * bark * arch**0.5)
        position += length + round(rng.uniform(0.1, 0.6) * rate_hz)
    return sound


def speech(count: int, rate_hz: float, rng: np.random.Generator) -> Wave:
    """Babble of syllables: consonant noise, then a vowel that glides between two of Peterson and Barney's ten."""
    pitch_hz, tract = log_uniform(85, 260, rng).item(), rng.uniform(0.95, 1.25)
    sound = np.zeros(count)
    position = _start(0.3, rate_hz, rng)
    for _ in range(int(rng.integers(4, 13))):
        if rng.random() < 0.6:
            low_hz = log_uniform(800, 4000, rng).item()
            consonant = burst(rng.uniform(0.002, 0.05), rng.uniform(0.01, 0.04), (low_hz, 2.0 * low_hz), rate_hz, rng)
            add_at(sound, position, rng.uniform(0.2, 1.2) * consonant)
            position += consonant.size // 2
        length = round(rng.uniform(0.08, 0.25) * rate_hz)
        glide = np.linspace(rng.uniform(0.85, 1.2), rng.uniform(0.85, 1.2), length)
        source = glottal_pulses(pitch_hz * glide, rate_hz, rng, breath=0.03)
        ends = [
            formants(source, tract * np.array(VOWELS_HZ[int(rng.integers(10))]), (60, 90, 150), rate_hz)
            for _ in range(2)
        ]
        mix = np.linspace(0.0, 1.0, length)
        vowel = ((1 - mix) * ends[0] + mix * ends[1]) * signal.windows.tukey(length, 0.5)
        add_at(sound, position, rng.lognormal(-0.3, 0.3) * vowel)
        position += length + round(rng.exponential(0.06) * rate_hz)
    return sound


def cough(count: int, rate_hz: float, rng: np.random.Generator) -> Wave:
    """One to three coughs: an explosive noise burst through the vocal tract, then a weaker, partly voiced tail."""
    tract, pitch_hz = rng.uniform(0.9, 1.3), log_uniform(120, 350, rng).item()
    voicing = rng.uniform(0.0, 0.6)
    sound = np.zeros(count)
    position = _start(0.3, rate_hz, rng)
    for _ in range(int(rng.integers(1, 4))):
        length = round(rng.uniform(0.2, 0.45) * rate_hz)
        time_s = np.arange(length) / rate_hz
        envelope = np.minimum(time_s / 0.004, 1) * np.exp(-time_s / rng.uniform(0.04, 0.12))
        envelope += 0.3 * voicing * np.exp(-0.5 * np.square((time_s - 0.6 * time_s[-1]) / 0.05))
        voice = voicing * glottal_pulses(np.linspace(1.1, 0.8, length) * pitch_hz, rate_hz, rng, breath=0.1)
        source = rng.standard_normal(length) + voice
        centres_hz = tract * np.array([550.0, 1500.0, 2600.0, 3600.0]) * rng.uniform(0.9, 1.1, 4)
        part = formants(source, centres_hz, (200, 250, 350, 500), rate_hz)
        part += rng.uniform(0.2, 0.8) * np.diff(source, prepend=0.0)
        add_at(sound, position, rng.lognormal(0.0, 0.3) * part * envelope)
        position += length + round(rng.uniform(0.05, 0.5) * rate_hz)
    return sound


def alarm_beep(count: int, rate_hz: float, rng: np.random.Generator) -> Wave:
    """Beeps of a piezo buzzer: groups of one to four tones with odd harmonics, on and off."""
    pitch_hz, on_s, off_s = log_uniform(800, 4000, rng).item(), rng.uniform(0.05, 0.3), rng.uniform(0.04, 0.2)
    harmonics = np.array([1, 3, 5])
    harmonics = harmonics[harmonics * pitch_hz < 0.47 * rate_hz]
    gains = rng.uniform(0.1, 1.0, harmonics.size) / harmonics
    time_s = np.arange(round(on_s * rate_hz)) / rate_hz
    beep = (gains[:, None] * np.sin(2 * np.pi * pitch_hz * harmonics[:, None] * time_s)).sum(axis=0)
    beep *= signal.windows.tukey(beep.size, min(1.0, 0.01 / on_s))
    sound = np.zeros(count)
    group, pause_s = int(rng.integers(1, 5)), rng.uniform(0.2, 0.8)
    position = _start(0.3, rate_hz, rng)
    while position < count:
        for _ in range(group):
            add_at(sound, position, beep)
            position += round((on_s + off_s) * rate_hz)
        position += round(pause_s * rate_hz)
    return sound


def keyboard_typing(count: int, rate_hz: float, rng: np.random.Generator) -> Wave:
    """Keys at 3-10 a second: a click through the modes of the case when pressed, a weaker one when let go."""
    modes = 6
    frequencies_hz = log_uniform(400, 6000, rng, modes)
    gains, decays_s = rng.uniform(0.2, 1.0, modes), log_uniform(0.001, 0.008, rng, modes)
    keys_per_s = rng.uniform(3, 10)
    sound = np.zeros(count)
    position = _start(0.3, rate_hz, rng)
    while position < count:
        strength = rng.lognormal(0.0, 0.4)
        for delay_s, share in ((0.0, 1.0), (rng.uniform(0.05, 0.12), rng.uniform(0.2, 0.7))):
            key = struck_modes(frequencies_hz * rng.uniform(0.9, 1.1, modes), decays_s, share * gains, rate_hz)
            start = position + round(delay_s * rate_hz)
            add_at(sound, start, strength * key)
            add_at(sound, start, strength * share * burst(0.0005, 0.003, (800, 6000), rate_hz, rng))
        position += round((0.03 + rng.exponential(1 / keys_per_s)) * rate_hz)
    return sound


def footsteps(count: int, rate_hz: float, rng: np.random.Generator) -> Wave:
    """Steps at 1.4-2.5 a second: the thump of the heel, then grains scraped by the sole (PhISEM, Cook 1997)."""
    floor_hz = log_uniform(60, 300, rng, 4)
    low_hz, grains, gravel = log_uniform(500, 2500, rng).item(), int(rng.integers(3, 40)), rng.uniform(0.1, 0.8)
    period_s = 1 / rng.uniform(1.4, 2.5)
    sound = np.zeros(count)
    position = _start(0.4, rate_hz, rng)
    while position < count:
        strength = rng.lognormal(0.0, 0.25)
        thump = struck_modes(floor_hz, log_uniform(0.01, 0.04, rng, 4), strength * rng.uniform(0.3, 1.0, 4), rate_hz)
        add_at(sound, position, thump)
        add_at(sound, position, 0.5 * strength * burst(0.001, 0.006, (200, 3000), rate_hz, rng))
        for delay_s in rng.uniform(0.03, 0.18, grains):
            grain = burst(0.001, log_uniform(0.003, 0.02, rng).item(), (low_hz, 2.5 * low_hz), rate_hz, rng)
            add_at(sound, position + round(delay_s * rate_hz), strength * gravel * rng.lognormal(-1, 0.5) * grain)
        position += round(period_s * rng.uniform(0.95, 1.05) * rate_hz)
    return sound


def water(count: int, rate_hz: float, rng: np.random.Generator) -> Wave:
    """Running tap: band of noise and bubbles, each a damped sine that rises in pitch.

    Bubbles: K. van den Doel, "Physically based models for liquid sounds", ACM Trans. Applied Perception 2(4), 2005: a
    radius r in metres sounds at 3/r Hz, damped by 0.13/r + 0.0072 r^-1.5 per second, and rises as its depth shrinks.
    """
    sound = rng.uniform(0.2, 1.0) * running_water(count, rate_hz, rng).astype(np.float64)
    number = int(rng.poisson(log_uniform(10, 120, rng) * count / rate_hz))
    radii_m = log_uniform(0.0006, 0.006, rng, number)
    for radius_m, start in zip(radii_m, rng.integers(0, count, number), strict=True):
        pitch_hz, damping = 3.0 / radius_m, 0.13 / radius_m + 0.0072 * radius_m**-1.5
        time_s = np.arange(round(min(5.0 / damping, 0.1) * rate_hz)) / rate_hz
        phase = 2 * np.pi * pitch_hz * time_s * (1 + 0.05 * damping * time_s)
        add_at(sound, int(start), rng.uniform(0.5, 3.0) * np.exp(-damping * time_s) * np.sin(phase))
    return sound


def rain(count: int, rate_hz: float, rng: np.random.Generator) -> Wave:
    """Drops on a random surface over the hiss of distant ones (the floor's texture)."""
    return rain_texture(count, rate_hz, rng).astype(np.float64)


def fan(count: int, rate_hz: float, rng: np.random.Generator) -> Wave:
    """Harmonics of a motor over noise (the floor's texture)."""
    return appliance(count, rate_hz, rng).astype(np.float64)


HOUSEHOLD_SOUNDS: dict[str, Callable[[int, float, np.random.Generator], Wave]] = {
    "alarm_beep": alarm_beep,
    "cough": cough,
    "cutlery_clatter": cutlery_clatter,
    "dog_bark": dog_bark,
    "door_knock": door_knock,
    "fan": fan,
    "footsteps": footsteps,
    "glass_breaking": glass_breaking,
    "keyboard_typing": keyboard_typing,
    "rain": rain,
    "speech": speech,
    "water": water,
}


def _start(latest_s: float, rate_hz: float, rng: np.random.Generator) -> int:
    """Sample at which the first event of a clip begins."""
    return round(rng.uniform(0.02, latest_s) * rate_hz)
