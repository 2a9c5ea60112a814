"""The built-in recordings: synthetic household sounds, so that everything runs without any data."""

import numpy as np
from scipy import signal

from lightsleeper.errors import InputError
from lightsleeper.recordings.folder import RecordingSet
from lightsleeper.recordings.household import HOUSEHOLD_SOUNDS
from lightsleeper.recordings.recording import MINIMUM_RATE_HZ, Recording
from lightsleeper.recordings.resonance import Wave, log_uniform, reverberate

__all__ = ["synthetic_recordings"]

FOLDS = 4


def synthetic_recordings(
    *, seed: int = 0, clips_per_label: int = 24, rate_hz: float = 16_000, duration_s: float = 3.0
) -> RecordingSet:
    """Twelve classes of household sounds, each clip with parameters, room, microphone and level of its own.

    Clips are sources of their own and go round the folds 1-4. A clip depends on seed, label and number alone, so more
    clips per label leave the first ones as they are. Raises `InputError` on figures from which nothing can be made.
    """
    if clips_per_label < 1:
        raise InputError(f"clips_per_label is {clips_per_label}; at least 1 is needed")
    if not rate_hz >= MINIMUM_RATE_HZ:
        raise InputError(f"rate_hz is {rate_hz:g}; synthetic sounds need at least {MINIMUM_RATE_HZ:.0f} Hz")
    if not 1.0 <= duration_s <= 3600.0:
        raise InputError(f"duration_s is {duration_s:g}; synthetic clips last 1 to 3600 s")
    recordings = tuple(
        _clip(label, number, np.random.default_rng([seed, position, number]), rate_hz, duration_s)
        for position, label in enumerate(HOUSEHOLD_SOUNDS)
        for number in range(clips_per_label)
    )
    return RecordingSet(recordings=recordings, name="built-in synthetic recordings", synthetic=True, skipped=())


def _clip(label: str, number: int, rng: np.random.Generator, rate_hz: float, duration_s: float) -> Recording:
    dry = HOUSEHOLD_SOUNDS[label](round(duration_s * rate_hz), float(rate_hz), rng)
    sound = _as_recorded(dry, rate_hz, rng)
    file = f"synthetic/{label}/{number}"
    return Recording(sound.astype(np.float32), float(rate_hz), label, file, number % FOLDS + 1, file)


def _as_recorded(sound: Wave, rate_hz: float, rng: np.random.Generator) -> Wave:
    """Sound in a random room through a microphone with its own tilt, hum-free noise at -50 to -70 dB, and level."""
    room_decay_s, wet = rng.uniform(0.1, 0.5), rng.uniform(0.05, 0.4)
    wet_sound = reverberate(sound, room_decay_s, wet, rate_hz, rng)
    edge_hz = min(log_uniform(3000, 20_000, rng).item(), 0.45 * rate_hz)
    microphone = signal.butter(1, (rng.uniform(30, 90), edge_hz), "bandpass", fs=rate_hz, output="sos")
    heard = np.asarray(signal.sosfilt(microphone, wet_sound))
    heard /= np.abs(heard).max()
    heard += 10 ** (rng.uniform(-70, -50) / 20) * rng.standard_normal(heard.size)
    return np.asarray(heard * (rng.uniform(0.1, 0.9) / np.abs(heard).max()))
