"""Behavioural netlist of a whole first stage: every block as B sources and capacitors, every value from `FrontEnd`.

The equations are those of `blocks.py` (sections of the analog circuits reference there). Nets carry the names that
`FrontEnd.simulate` uses, with the number of the band or neuron from 1: `band1`, `fast1`, `log_slow2`, `hidden3`,
`score`, `integral`, `wake`. Transconductors carry their white noise, 4 k T gamma Gm each, as a noisy resistor and a
controlled source, because B sources are noiseless; other resistors are declared noiseless.
"""

import math
from collections.abc import Sequence

from lightsleeper.circuits.device import BOLTZMANN_J_PER_K, thermal_voltage_v
from lightsleeper.circuits.frontend import FrontEnd

__all__ = [
    "ENVELOPES",
    "OPTIONS",
    "amplifier",
    "band",
    "circuit",
    "comparator",
    "decision",
    "first_stage",
    "logarithms",
    "network",
    "preamble",
]

ENVELOPES = ("fast", "slow", "floor")
"""Envelopes of a band, in the order of the network's inputs."""

OPTIONS = ".options method=trap reltol=1e-4 abstol=1e-17 vntol=1e-8 chgtol=1e-20 trtol=1 gmin=1e-18"
"""Currents are down to picoamperes and charges to attocoulombs: the defaults (1e-12 A, 1e-14 C) would not see them."""

COUPLING_F = 20e-12
"""Coupling capacitor of the amplifier, as counted in `FrontEnd.area_mm2`."""
COMPARATOR_F = 0.1e-12
"""Load of the comparator (2.8)."""
SHARPNESS = 500.0
"""Hysteresis over the width of the comparator's transition: its thresholds are within a hundredth of the hysteresis."""

NOISE = """\
.param noise_gm={{sqrt(gm*range/{thermal_v}*1e-3)}}
R1 noise 0 1k
G1 0 out noise 0 {{noise_gm}}
"""

SUBCIRCUITS = """\
* Transconductor: Iout = Gm VL tanh((V+ - V-) / VL), white noise 4 q Ib = 4 k T (VL / UT) Gm (2.2).
.subckt ota plus minus out gm=1n range=74m
B1 0 out I=gm*range*tanh((v(plus)-v(minus))/range)
{noise}.ends

* Two-integrator band-pass, peak gain 1: C Vo' = Gin f(Vin) - Gd f(Vo) - G f(Vx), C Vx' = G f(Vo) (2.3).
.subckt band_pass in out inner f0=1k q=2 c=10p range=74m
.param gm={{6.283185307179586*f0*c}}
X1 in 0 out ota gm={{gm/q}} range={{range}}
X2 0 out out ota gm={{gm/q}} range={{range}}
X3 0 inner out ota gm={{gm}} range={{range}}
X4 out 0 inner ota gm={{gm}} range={{range}}
C1 out 0 {{c}}
C2 inner 0 {{c}}
.ends

* Asymmetric one-pole on a rectified input: tau V' = |Vin| - V, tau by the sign of the right side (2.5 a). The sum of
* a linear term and an absolute value keeps a conductance where the two slopes meet.
.subckt detector in out rise=1m fall=10m c=5p
.param mean={{c/rise/2+c/fall/2}} skew={{c/rise/2-c/fall/2}}
B1 0 out I=mean*(abs(v(in))-v(out))+skew*abs(abs(v(in))-v(out))
C1 out 0 {{c}}
.ends

* Asymmetric one-pole.
.subckt follower in out rise=1m fall=10m c=5p
.param mean={{c/rise/2+c/fall/2}} skew={{c/rise/2-c/fall/2}}
B1 0 out I=mean*(v(in)-v(out))+skew*abs(v(in)-v(out))
C1 out 0 {{c}}
.ends

* Logarithm of a diode-connected transistor (2.6); a capacitor that rings below 0 V by a rounding error stays defined.
.subckt logarithm in out knee=1m slope=37m
B1 out 0 V=slope*ln(1+max(v(in),0)/knee)
.ends

* Neuron: tau V' = VN tanh(Vsum / VN) - V on its capacitor (2.7).
.subckt neuron sum out tau=10m range=74m c=5p
B1 0 out I=c/tau*(range*tanh(v(sum)/range)-v(out))
C1 out 0 {{c}}
.ends

* Comparator: regenerative, high above the threshold, low below threshold - hysteresis; its load delays it (2.8).
.subckt comparator in out threshold=0 hysteresis=5m width=10u supply=1.8 slew=1u c=0.1p
B1 drive 0 V=supply/2*(1+tanh((v(in)-threshold+hysteresis*v(out)/supply)/width))
R1 drive out {{slew/c}} noisy=0
C1 out 0 {{c}}
.ends
"""


def circuit(title: str, *parts: str) -> str:
    """A netlist from its parts: elements, sources, analyses."""
    return "\n".join([f"* {title}", *(part.strip("\n") for part in parts), ".end", ""])


def first_stage(frontend: FrontEnd, *, noise: bool = True) -> str:
    """Elements of the whole stage, from the net `microphone` to the net `wake`, with options and sub-circuits."""
    numbers = range(1, frontend.bank.bands + 1)
    bands = [line for number in numbers for line in (*band(frontend, number), *logarithms(frontend, number))]
    lines = [*amplifier(frontend), "", *bands, "", *network(frontend), "", *decision(frontend)]
    return "\n".join([preamble(frontend, noise=noise), *lines])


def preamble(frontend: FrontEnd, *, noise: bool = True) -> str:
    """Options, temperature and the sub-circuits of every block.

    Without `noise` the transconductors' noise sources are left out, which a transient analysis only pays for.
    """
    heading = [OPTIONS, f".options temp={frontend.process.temperature_c:g} tnom={frontend.process.temperature_c:g}", ""]
    thermal_v = thermal_voltage_v(frontend.process.temperature_c)
    sources = NOISE.format(thermal_v=f"{thermal_v:.12g}") if noise else ""
    return "\n".join(heading) + SUBCIRCUITS.format(noise=sources)


def amplifier(frontend: FrontEnd, *, noise: bool = True) -> list[str]:
    """AC coupling, input noise of microphone and amplifier, gain with soft clip: `microphone` -> `amplified`."""
    parameters = frontend.amplifier
    resistance = 1.0 / (2.0 * math.pi * parameters.corner_hz * COUPLING_F)
    return [
        "* Amplifier: AC-coupled, input noise of microphone and amplifier, gain, soft clip.",
        f"C_couple microphone coupled {COUPLING_F:.10g}",
        f"R_couple coupled 0 {resistance:.10g} noisy=0",
        f"R_noise noise 0 {_noise_resistance(frontend):.10g}{'' if noise else ' noisy=0'}",
        f"B_amplifier amplified 0 V={parameters.clip_v:.10g}"
        f"*tanh({parameters.gain:.10g}*(v(coupled)+v(noise))/{parameters.clip_v:.10g})",
    ]


def band(frontend: FrontEnd, number: int) -> list[str]:
    """Band-pass and envelopes of one band, counted from 1: `amplified` -> `band1`, `fast1`, `slow1`, `floor1`."""
    filters, envelopes = frontend.bank, frontend.envelopes
    index = number - 1
    times = envelopes.times_s()[:, index]
    lines = [
        f"* Band {number}.",
        f"X_band{number} amplified band{number} inner{number} band_pass f0={filters.center_hz[index]:.10g} "
        f"q={filters.q[index]:.10g} c={filters.capacitance_f:.10g} range={filters.range_v(frontend.process):.10g}",
    ]
    for which, kind in enumerate(ENVELOPES):
        # The floor follows the fast envelope, which is rectified already.
        source, block = (f"fast{number}", "follower") if kind == "floor" else (f"band{number}", "detector")
        lines.append(
            f"X_{kind}{number} {source} {kind}{number} {block} rise={times[2 * which]:.10g} "
            f"fall={times[2 * which + 1]:.10g} c={envelopes.capacitance_f:.10g}"
        )
    return lines


def logarithms(frontend: FrontEnd, number: int) -> list[str]:
    """Logarithms of one band's envelopes: `fast1` -> `log_fast1` and so on."""
    return [
        f"X_log_{kind}{number} {kind}{number} log_{kind}{number} logarithm knee={frontend.compressor.knee_v:.10g} "
        f"slope={frontend.process.slope_v:.10g}"
        for kind in ENVELOPES
    ]


def network(frontend: FrontEnd) -> list[str]:
    """Weighted sums, neurons and read-out: `log_...` -> `score`."""
    parameters, range_v = frontend.network, frontend.process.range_v
    inputs = [f"log_{kind}{number}" for kind in ENVELOPES for number in range(1, frontend.bank.bands + 1)]
    # A weight of 1 is a transconductance of unit current over linear range, which also loads the sum.
    unit_s = parameters.unit_current_a / range_v
    lines = ["* Network: weights as transconductances into a summing node, neurons with their capacitors, read-out."]
    for neuron, weights in enumerate(parameters.hidden_weight, 1):
        bias_v = float(parameters.hidden_bias_v[neuron - 1])
        lines += _weighted_sum(f"sum{neuron}", inputs, weights.tolist(), bias_v, unit_s)
        lines.append(
            f"X_hidden{neuron} sum{neuron} hidden{neuron} neuron tau={parameters.neuron_s[neuron - 1]:.10g} "
            f"range={range_v:.10g} c={parameters.capacitance_f:.10g}"
        )
    hidden = [f"hidden{neuron}" for neuron in range(1, parameters.neurons + 1)]
    lines += _weighted_sum("sum", hidden, parameters.output_weight.tolist(), parameters.output_bias_v, unit_s)
    return [*lines, f"B_score score 0 V={range_v:.10g}*tanh(v(sum)/{range_v:.10g})"]


def decision(frontend: FrontEnd) -> list[str]:
    """Asymmetric integrator and comparator: `score` -> `integral` -> `wake`."""
    integrator = frontend.integrator
    return [
        "* Decision: asymmetric integrator, comparator with hysteresis.",
        f"X_integral score integral follower rise={integrator.rise_s:.10g} fall={integrator.fall_s:.10g} "
        f"c={integrator.capacitance_f:.10g}",
        comparator(frontend),
    ]


def comparator(frontend: FrontEnd) -> str:
    """The comparator alone: `integral` -> `wake`."""
    parameters, supply_v = frontend.comparator, frontend.process.supply_v
    width_v = max(parameters.hysteresis_v / SHARPNESS, 1e-6)
    slew_s = COMPARATOR_F * supply_v / parameters.current_a
    return (
        f"X_wake integral wake comparator threshold={parameters.threshold_v:.10g} "
        f"hysteresis={parameters.hysteresis_v:.10g} width={width_v:.10g} supply={supply_v:.10g} "
        f"slew={slew_s:.10g} c={COMPARATOR_F:.10g}"
    )


def _weighted_sum(
    node: str, inputs: Sequence[str], weights: Sequence[float], bias_v: float, unit_s: float
) -> list[str]:
    lines = [f"R_{node} {node} 0 {1.0 / unit_s:.10g} noisy=0", f"I_{node} 0 {node} {bias_v * unit_s:.10g}"]
    return lines + [
        f"G_{node}_{number} 0 {node} {source} 0 {weight * unit_s:.10g}"
        for number, (source, weight) in enumerate(zip(inputs, weights, strict=True), 1)
    ]


def _noise_resistance(frontend: FrontEnd) -> float:
    """Resistor whose thermal voltage is the input noise of microphone and amplifier, in ohm."""
    microphone, amplifier_ = frontend.microphone, frontend.amplifier
    density = (microphone.noise_pa * microphone.sensitivity_v_per_pa) ** 2 / 20_000.0
    density += amplifier_.noise_v**2 / amplifier_.bandwidth_hz
    four_kt = 4.0 * BOLTZMANN_J_PER_K * (frontend.process.temperature_c + 273.15)
    return density / four_kt
