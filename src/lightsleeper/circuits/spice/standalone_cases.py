"""The standalone blocks as they are held to ngspice: one instance of each kind, and what drives it up to clipping."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.block import Block, LinearBlock
from lightsleeper.circuits.blocks import Comparator, Process
from lightsleeper.circuits.decision import RegenerativeComparator, SlopeIntegrator
from lightsleeper.circuits.detectors import AdaptiveDetector, PeakDetector
from lightsleeper.circuits.filters import C4BandPass, GmCFilter
from lightsleeper.circuits.gain_control import AutomaticGainControl, GainStage
from lightsleeper.circuits.ota import Ota
from lightsleeper.circuits.ratio import LogRatio
from lightsleeper.circuits.spice.comparison import Row
from lightsleeper.circuits.spice.standalone import small_signal_rows, transient_row
from lightsleeper.circuits.tanh_neuron import Neuron

__all__ = ["CASES", "Case", "swelling_noise", "verify_blocks"]

Floats = NDArray[np.float64]
DURATION_S = 0.02
AC_HZ = (20.0, 20e3)


def swelling_noise(
    *, peak_v: float, top_hz: float = 5e3, rate_hz: float = 200e3, duration_s: float = DURATION_S, seed: int = 0
) -> Floats:
    """Band-limited noise that swells from silence to `peak_v` and dies away, (T,) V."""
    count = round(rate_hz * duration_s)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    spectrum[np.fft.rfftfreq(count, 1.0 / rate_hz) > top_hz] = 0.0
    noise = np.fft.irfft(spectrum, count) * np.sin(np.pi * np.arange(count) / count) ** 2
    return np.asarray(peak_v * noise / np.abs(noise).max())


@dataclass(frozen=True, slots=True)
class Case:
    """A block and its stimulus: independent swelling noise at every input.

    Attributes:
        block: the block.
        levels_v: peaks of the noise, the last one far into clipping where the block clips.
        top_hz: its bandwidth.
        rate_hz: sample rate.
        rectified: whether the inputs are envelopes, never below 0.
        noise_hz: limits of the noise analysis; None takes all frequencies.
        rest_v: steady voltage at the first input for AC and noise.
    """

    block: Block
    levels_v: tuple[float, ...]
    top_hz: float = 5e3
    rate_hz: float = 200e3
    rectified: bool = False
    noise_hz: tuple[float, float] | None = None
    rest_v: float = 0.0

    def stimulus(self, peak_v: float) -> Floats:
        """Shape (inputs, T)."""
        seeds = range(len(self.block.inputs))
        noise = [swelling_noise(peak_v=peak_v, top_hz=self.top_hz, rate_hz=self.rate_hz, seed=s) for s in seeds]
        return np.abs(noise) if self.rectified else np.array(noise)


QUICK_GAIN_CONTROL = AutomaticGainControl(
    fall_db_per_s=1000.0, rise_db_per_s=1000.0, attack_s=1e-3, decay_s=2e-3, control_f=1e-9
)
"""As fast as its limits allow, so that the gain moves by 20 dB in a simulated 20 ms."""

SLOW = Comparator(current_a=2e-9)
"""Swings in 0.1 ms, which the samples see."""

CASES = {
    "OTA": Case(Ota(), (0.02, 0.5)),
    "OTA, linearised by 3": Case(Ota(linearisation=3.0, bias_a=3e-9, dc_gain=200.0), (0.02, 0.5)),
    "gm-C band-pass, Q 4, gain 44": Case(GmCFilter(q=4.0, dc_gain=44.0), (0.02, 0.5)),
    "gm-C low-pass, Q 0.7": Case(GmCFilter(kind="low_pass", center_hz=2000.0, q=0.7), (0.02, 0.5)),
    "C4 band-pass, Q 0.8": Case(C4BandPass(), (0.02, 0.5)),
    "peak detector": Case(PeakDetector(decay_v_per_s=3.0), (0.02, 0.5)),
    "adaptive detector": Case(AdaptiveDetector(quiet_s=0.02), (0.005, 0.5)),
    "gain stage": Case(GainStage(code=1), (1e-4, 0.02), noise_hz=(1e-3, 8e3)),
    "automatic gain control": Case(QUICK_GAIN_CONTROL, (1e-4, 0.05)),
    # 1 nV: the rectified input has its slope there.
    "logarithm of a ratio": Case(LogRatio(), (2e-3, 0.1), rectified=True, rest_v=1e-9),
    "neuron": Case(Neuron(weights=(2.0, -3.0), bias_v=0.02, time_s=2e-3), (0.01, 0.5)),
    "comparator": Case(RegenerativeComparator(SLOW, offset_v=2e-3), (0.02, 0.5), top_hz=300.0),
    "integrator of two slopes": Case(SlopeIntegrator(rise_s=5e-3, fall_s=20e-3), (0.02, 0.5), top_hz=300.0),
}
"""By name."""


def verify_blocks(process: Process) -> Iterator[Row]:
    """Rows of every case: AC and noise of the linear ones, transients at each level."""
    for name, case in CASES.items():
        if isinstance(case.block, LinearBlock):
            yield from small_signal_rows(name, case.block, process, AC_HZ, noise_hz=case.noise_hz, rest_v=case.rest_v)
        for level_v in case.levels_v:
            yield transient_row(f"{name}, {level_v:g} V", case.block, case.stimulus(level_v), case.rate_hz, process)
