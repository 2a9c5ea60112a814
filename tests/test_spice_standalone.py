"""Standalone blocks against ngspice: AC within 0.1 dB, noise within 3 %, transients up to clipping within 1 %."""

import dataclasses

import numpy as np
import pytest

from block_signals import PROCESS, swelling_noise
from lightsleeper.circuits import Process
from lightsleeper.circuits.block import Block, LinearBlock
from lightsleeper.circuits.filters import C4BandPass, GmCFilter
from lightsleeper.circuits.ota import Ota
from lightsleeper.circuits.spice.standalone import small_signal_rows, transient_row

LINEAR: dict[str, LinearBlock] = {
    "OTA": Ota(),
    "linearised OTA": Ota(linearisation=3.0, bias_a=3e-9, dc_gain=200.0),
    "band-pass": GmCFilter(center_hz=1000.0, q=4.0, dc_gain=44.0),
    "low-pass": GmCFilter(kind="low_pass", center_hz=2000.0, q=0.7, linearisation=2.0),
    "C4": C4BandPass(),
}


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("temperature_c", [-10.0, 60.0])
def test_small_signals(name: str, temperature_c: float) -> None:
    rows = small_signal_rows(name, LINEAR[name], Process(temperature_c=temperature_c), (20.0, 20e3))
    assert [(row.analysis, row.passed) for row in rows] == [("AC", True), ("noise", True)], rows


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("peak_v", [0.02, 0.5])
def test_transients_up_to_clipping(name: str, peak_v: float) -> None:
    row = transient_row(name, LINEAR[name], swelling_noise(peak_v=peak_v), 200e3, PROCESS)
    assert row.passed, row


def test_another_block_does_not_pass() -> None:
    """The comparison can fail: ngspice is given a centre frequency that is 2 % off."""

    class Detuned(GmCFilter):
        def netlist(self, name: str, process: Process) -> str:
            return dataclasses.replace(GmCFilter(), center_hz=1.02 * self.center_hz).netlist(name, process)

    detuned = Detuned()
    assert not small_signal_rows("detuned", detuned, PROCESS, (20.0, 20e3))[0].passed
    assert not transient_row("detuned", detuned, swelling_noise(peak_v=0.1), 200e3, PROCESS).passed


def test_offset_reaches_ngspice() -> None:
    # Well below the rails: 1 mV times 44.
    block: Block = Ota(offset_v=1e-3)
    row = transient_row("OTA", block, np.zeros(2000), 100e3, PROCESS)
    assert row.passed, row
