"""Small-signal gain of a standalone block as differences of its large-signal equations have it."""

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits import Process
from lightsleeper.circuits.block import Block

Float64 = NDArray[np.float64]
PROCESS = Process()


def linearised_gain(
    block: Block, frequency_hz: Float64, *, state: Float64, input_v: Float64, process: Process = PROCESS
) -> NDArray[np.complex128]:
    """C (sI - A)^-1 B + D from the first input, by central differences about an operating point, (frequencies,)."""
    count = len(state)

    def slope_and_output(x: Float64) -> Float64:
        slopes = block.derivative(x[:count], x[count:], process)
        return np.append(slopes, block.output(x[:count], x[count:], process))

    point = np.concatenate([state, input_v])
    # States may be charges of attocoulombs: the step of each is one that moves the output by about a microvolt.
    steps = np.full(len(point), 1e-6)
    for index in range(count):
        moved = np.eye(len(point))[index]
        per_unit = abs(block.output((point + moved)[:count], input_v, process) - block.output(state, input_v, process))
        steps[index] = 1e-6 / max(float(per_unit), 1.0)
    jacobian = np.stack(
        [
            (slope_and_output(point + h * unit) - slope_and_output(point - h * unit)) / (2.0 * h)
            for h, unit in zip(steps, np.eye(len(point)), strict=True)
        ],
        axis=1,
    )
    a, b = jacobian[:count, :count], jacobian[:count, count]
    c, d = jacobian[count, :count], jacobian[count, count]
    s = 2j * np.pi * np.asarray(frequency_hz)
    return np.array([c @ np.linalg.solve(each * np.eye(count) - a, b) + d for each in s])
