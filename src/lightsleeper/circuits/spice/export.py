"""`frontend.cir`: the netlist of a first stage that a person runs with ngspice as it stands."""

import os
import tempfile
from pathlib import Path

from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.spice.netlist import circuit, first_stage
from lightsleeper.errors import InputError

__all__ = ["netlist_text", "write_netlist"]


def netlist_text(frontend: FrontEnd) -> str:
    """The whole first stage at behavioural level, with a tone burst at its input and a transient analysis."""
    tone_hz = min(frontend.bank.center_hz, key=lambda center_hz: abs(center_hz - 1000.0))
    level_v = 0.3 * frontend.amplifier.clip_v / frontend.amplifier.gain
    step_s = 1.0 / (100.0 * max(frontend.bank.center_hz))
    nets = ("amplified", "band1", "fast1", "slow1", "floor1", "score", "integral", "wake")
    return circuit(
        "Analog first stage, behavioural level, written by lightsleeper.",
        "* Run it:    ngspice -b -r frontend.raw frontend.cir",
        "* Nets:      microphone, amplified; per band band1, fast1, slow1, floor1, log_fast1 ...; hidden1 ...; score,",
        "*            integral, wake. All in V against ground; the signal's zero is the common level of a real chip.",
        "* Recording: replace V_microphone by the next two lines; in.txt holds time in s and voltage in V, one a line.",
        "*   A_microphone %v([microphone]) recording",
        '*   .model recording filesource(file="in.txt" amploffset=[0] amplscale=[1])',
        f"V_microphone microphone 0 dc 0 ac 1 sin(0 {level_v:.6g} {tone_hz:.6g} 10m)",
        first_stage(frontend),
        f".tran {step_s:.4g} 60m 0 {step_s:.4g} uic",
        "* Also:      .ac dec 50 10 100k      .noise v(band1) V_microphone dec 50 1 1meg",
        ".save " + " ".join(f"v({net})" for net in nets),
    )


def write_netlist(frontend: FrontEnd, path: Path) -> None:
    """Write `netlist_text` whole or not at all; InputError where `path` cannot be written."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="ascii", newline="\n") as file:
                file.write(netlist_text(frontend))
            os.chmod(name, 0o644)  # mkstemp gives 0600, which nobody else could open
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
