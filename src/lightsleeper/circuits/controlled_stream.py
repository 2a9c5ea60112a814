"""The first stage behind an automatic gain: a `FrontEndStream` whose amplifier follows the room."""

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.amplify import add_input_noise
from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.gain_control import AutomaticGainControl
from lightsleeper.circuits.gain_trace import GainTrace
from lightsleeper.circuits.simd import NOISE_UNIT
from lightsleeper.circuits.stream import FrontEndStream
from lightsleeper.errors import InputError

__all__ = ["GainControlledStream"]

Float32 = NDArray[np.float32]


class GainControlledStream(FrontEndStream):
    """Runs a `FrontEnd` with an `AutomaticGainControl` in the place of its amplifier; use as `FrontEndStream`.

    The front end's own gain is the one that its network was trained with; `calibrated` gives the control the target at
    which a room of training leaves just that. The noise of microphone and amplifier comes before the gain.

    Args:
        frontend: the stage.
        agc: the gain control; its amplifier couples and clips as the front end's.
        rows, rate_hz, noise_seed: as for `FrontEndStream`.
    """

    def __init__(
        self,
        frontend: FrontEnd,
        *,
        agc: AutomaticGainControl,
        rows: int,
        rate_hz: float,
        noise_seed: int | None = None,
    ) -> None:
        for field in ("corner_hz", "clip_v", "noise_v"):
            own, given = getattr(frontend.amplifier, field), getattr(agc.amplifier, field)
            if own != given:
                raise InputError(f"gain control: its amplifier's {field} is {given:g}, the front end's {own:g}")
        super().__init__(frontend, rows=rows, rate_hz=rate_hz, noise_seed=noise_seed)
        self._traces = [GainTrace(agc, rate_hz=rate_hz, process=frontend.process) for _ in range(rows)]
        self._noise_before_gain = self._input_noise * NOISE_UNIT * np.float32(np.sqrt(0.5))
        self._input_noise = np.zeros(rows, np.float32)
        start = agc.attenuation(agc.rest(frontend.process)[2], frontend.process)
        self.gain = np.full(rows, agc.amplifier.gain * start)

    def drive(self, samples_v: Float32) -> Float32:
        """As of `FrontEndStream`; `gain` (rows,) then holds the gain at the last sample."""
        controlled_v = samples_v.copy()
        for row, trace in enumerate(self._traces):
            if self._noise_before_gain[row] > 0.0:
                scale, seed = self._noise_before_gain[row], self._input_seeds[row]
                add_input_noise(controlled_v[row], scale, seed, self._samples_done)
            gain = trace.gain(controlled_v[row])
            controlled_v[row] *= (gain / self.frontend.amplifier.gain).astype(np.float32)
            self.gain[row] = gain[-1]
        return super().drive(controlled_v)
