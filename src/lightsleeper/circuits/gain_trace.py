"""Automatic gain over hours of sound: the equations of `AutomaticGainControl` in one compiled loop, and its target."""

# mypy: disable-error-code="untyped-decorator"
import dataclasses
import math

import numba
import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.blocks import Process
from lightsleeper.circuits.device import thermal_voltage_v
from lightsleeper.circuits.gain_control import AutomaticGainControl
from lightsleeper.circuits.rates import frame_fraction
from lightsleeper.errors import InputError

__all__ = ["GainTrace", "calibrated"]

Float64 = NDArray[np.float64]


class GainTrace:
    """Gain over time, state in, state out: each call goes on where the last one stopped.

    What is exact: envelope and coupling for an input that stands still over a sample; the control voltage takes one
    Euler step a sample, of which it moves by millionths. What is not: the envelope hears the output at the samples
    alone, so a sound near half the sample rate is read a little low.

    Args:
        agc: the block.
        rate_hz: sample rate.
        process: temperature.
    """

    def __init__(self, agc: AutomaticGainControl, *, rate_hz: float, process: Process) -> None:
        self.agc = agc
        fall, rise = (speed * agc.volts_per_db(process) / rate_hz for speed in (agc.fall_db_per_s, agc.rise_db_per_s))
        self._coefficients = np.array(
            [
                frame_fraction(1.0 / (2.0 * math.pi * agc.amplifier.corner_hz), rate_hz),
                agc.amplifier.gain,
                agc.amplifier.clip_v,
                frame_fraction(agc.attack_s, rate_hz),
                frame_fraction(agc.decay_s, rate_hz),
                agc.target_v,
                fall,
                rise,
                agc.range_db * agc.volts_per_db(process),
                thermal_voltage_v(process.temperature_c),
                process.slope_v,
            ]
        )
        self._state = agc.rest(process)

    def gain(self, input_v: NDArray[np.floating]) -> Float64:
        """Voltage gain at each of the next samples (T,), before clipping; it has not heard the sample it stands at."""
        gain = np.empty(len(input_v))
        _follow(np.asarray(input_v, dtype=np.float64), self._coefficients, self._state, gain)
        return gain


def calibrated(
    agc: AutomaticGainControl, room_v: NDArray[np.floating], rate_hz: float, *, gain: float, process: Process
) -> AutomaticGainControl:
    """The control with the target at which a known room leaves a known gain, such as those of a network's training.

    Settled gain and target are in proportion as long as nothing clips.

    Args:
        agc: the block.
        room_v: input of that room (T,), long enough to settle in its first half.
        rate_hz: sample rate.
        gain: wanted median gain of the second half.
        process: temperature.

    Raises:
        InputError: the gain ends within 1 dB of a clamp, or the target outside its limits.
    """
    settled = float(np.median(GainTrace(agc, rate_hz=rate_hz, process=process).gain(room_v)[len(room_v) // 2 :]))
    down_db = 20.0 * math.log10(agc.amplifier.gain / settled)
    if not 1.0 < down_db < agc.range_db - 1.0:
        raise InputError(
            f"AutomaticGainControl: its gain ends {down_db:.1f} dB below the largest, at a clamp; "
            "take another largest gain, range_db or target_v"
        )
    return dataclasses.replace(agc, target_v=agc.target_v * gain / settled)


@numba.njit(cache=True)
def _follow(input_v: Float64, coefficients: Float64, state: Float64, gain: Float64) -> None:
    """Gain of every sample; the state is updated in place."""
    leak, largest, clip, attack, decay, target, fall, rise, highest, thermal, slope = coefficients
    coupled, envelope, control = state
    for t in range(input_v.size):
        gain[t] = largest * math.exp(-control / slope)
        level = abs(clip * math.tanh(gain[t] * (input_v[t] - coupled) / clip))
        coupled += leak * (input_v[t] - coupled)
        envelope += (attack if level > envelope else decay) * (level - envelope)
        ratio = (envelope - target) / (envelope + target)
        if ratio > 0.0:
            control += fall * ratio * -math.expm1((control - highest) / thermal)
        else:
            control += rise * ratio * -math.expm1(-control / thermal)
    state[0], state[1], state[2] = coupled, envelope, control
