"""A small first stage with a busy network and signals to drive it, shared by the tests of circuits and learning."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits import EnvelopeDetectors, FilterBank, FrontEnd, NeuralNetwork

RATE_HZ = 16_000.0
TIMES_S = {
    "fast_attack_s": 1e-3,
    "fast_decay_s": 10e-3,
    "slow_attack_s": 1e-3,
    "slow_decay_s": 0.1,
    "floor_rise_s": 0.5,
    "floor_fall_s": 0.1,
}


def make_frontend(center_hz: tuple[float, ...] = (300.0, 1000.0, 4000.0), **blocks: Any) -> FrontEnd:
    """Bands at `center_hz`, a network of three neurons with random weights; `blocks` replace the others."""
    bands = len(center_hz)
    rng = np.random.default_rng(5)
    network = NeuralNetwork(
        hidden_weight=rng.normal(size=(3, 3 * bands)),
        hidden_bias_v=rng.normal(scale=0.02, size=3),
        neuron_s=np.array([5e-3, 20e-3, 60e-3]),
        output_weight=rng.normal(size=3),
        output_bias_v=-0.01,
    )
    return FrontEnd(
        network=network,
        bank=FilterBank(center_hz=center_hz, q=(2.0,) * bands),
        envelopes=EnvelopeDetectors(**{name: (time_s,) * bands for name, time_s in TIMES_S.items()}),
        **blocks,
    )


def noise_bursts(rows: int, samples: int, *, rms_v: float = 0.5e-3, seed: int = 0) -> NDArray[np.float32]:
    """White noise whose level jumps by 20 dB, in V at the microphone, shape (rows, samples)."""
    rng = np.random.default_rng(seed)
    level = np.where(np.arange(samples) // 1000 % 2, 1.0, 0.1)
    return (rms_v * level * rng.standard_normal((rows, samples))).astype(np.float32)
