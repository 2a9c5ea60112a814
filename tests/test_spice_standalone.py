"""Standalone blocks against ngspice: AC within 0.1 dB, noise within 3 %, transients up to clipping within 1 %."""

import dataclasses

import numpy as np
import pytest

from block_signals import PROCESS
from lightsleeper.circuits import GmCFilter, LinearBlock, Ota, Process
from lightsleeper.circuits.spice.standalone import small_signal_rows, transient_row
from lightsleeper.circuits.spice.standalone_cases import CASES, swelling_noise

LINEAR = {name: case for name, case in CASES.items() if isinstance(case.block, LinearBlock)}


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("temperature_c", [-10.0, 60.0])
def test_small_signals(name: str, temperature_c: float) -> None:
    case, process = LINEAR[name], Process(temperature_c=temperature_c)
    rows = small_signal_rows(name, case.block, process, (20.0, 20e3), noise_hz=case.noise_hz, rest_v=case.rest_v)
    assert [(row.analysis, row.passed) for row in rows] == [("AC", True), ("noise", True)], rows


@pytest.mark.parametrize(("name", "level"), [(name, level) for name in CASES for level in CASES[name].levels_v])
def test_transients_up_to_clipping(name: str, level: float) -> None:
    case = CASES[name]
    row = transient_row(name, case.block, case.stimulus(level), case.rate_hz, PROCESS)
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
    row = transient_row("OTA", Ota(offset_v=1e-3), np.zeros(2000), 100e3, PROCESS)
    assert row.passed, row
