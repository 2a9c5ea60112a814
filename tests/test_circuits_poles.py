"""Fitted Adams rules: classical weights in the limit, exact small-signal poles, and the noise of the recursion."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import expm, solve_discrete_lyapunov

from lightsleeper.circuits import FilterBank, Process
from lightsleeper.circuits.poles import band_rules, output_variance

angles = st.floats(0.01, 0.6)
qs = st.floats(0.6, 5.0)


def _linear(rule: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix of the linearised recursion over s, x and six past values, and the row that reads the output."""
    _, q, p1, p2, p3, solve, m0, m1, m2, m3, ratio, keep, bleed = rule
    read = np.array([1, -q, -p1, -p2, -p3, 0, 0, 0]) / (1 + solve)
    unit = np.eye(8)
    x = keep * unit[1] + m0 * read + m1 * unit[2] + m2 * unit[3] + m3 * unit[4]
    s = unit[0] - ratio * (m0 * x + m1 * unit[5] + m2 * unit[6] + m3 * unit[7]) - bleed * x
    return np.stack([s, x, read, unit[2], unit[3], x, unit[5], unit[6]]), read


def _ideal(angle: float, q: float) -> NDArray[np.float64]:
    one = np.array([angle])
    return band_rules(drive=one / q, damping=one / q, outward=one, inward=one)[:, 0]


def test_weights_of_a_slow_band_are_the_classical_ones() -> None:
    move = _ideal(0.01, 2.0)[6:10] / 0.01
    np.testing.assert_allclose(move, np.array([26.0, -5.0, 4.0, -1.0]) / 24.0, atol=3e-3)


@given(angles, qs)
def test_poles_are_exact(angle: float, q: float) -> None:
    """Two eigenvalues of the recursion are those of the circuit after one substep."""
    exact = np.exp(angle * complex(-0.5 / q, math.sqrt(1.0 - 0.25 / q**2)))
    eigenvalues = np.linalg.eigvals(_linear(_ideal(angle, q))[0])
    assert np.abs(eigenvalues - exact).min() < 1e-7


@given(st.floats(0.01, 0.5), st.floats(0.7, 5.0), st.floats(0.7, 1.4), st.floats(0.0, 0.1))
def test_poles_of_an_unequal_and_leaky_pair_are_kept(angle: float, q: float, ratio: float, leak: float) -> None:
    """G1 and G2 apart and a leak at the internal node: but for three hundredths of the leak."""
    circuit = np.array([[-angle / q, -angle * ratio], [angle, -leak * angle]])
    rule = band_rules(
        drive=np.array([angle / q]),
        damping=np.array([angle / q]),
        outward=np.array([ratio * angle]),
        inward=np.array([angle]),
        leak=np.array([leak * angle]),
    )[:, 0]
    exact = np.linalg.eigvals(expm(circuit))
    upper = exact[np.argmax(exact.imag)]
    eigenvalues = np.linalg.eigvals(_linear(rule)[0])
    assert np.abs(eigenvalues - upper).min() < 0.03 * leak * angle + 1e-6


@given(st.floats(0.01, 0.55), qs)
def test_recursion_is_stable(angle: float, q: float) -> None:
    assert np.abs(np.linalg.eigvals(_linear(_ideal(angle, q))[0])).max() < 1.0


@given(angles, qs, st.integers(1, 3))
def test_output_variance_is_that_of_the_lyapunov_equation(angle: float, q: float, substeps: int) -> None:
    rule = _ideal(angle, q)
    matrix, read = _linear(rule)
    source = np.zeros((8, 2))
    source[:2] = [[1.0, 0.5 * rule[1]], [0.0, 0.5]]
    covariance = solve_discrete_lyapunov(np.linalg.matrix_power(matrix, substeps), source @ source.T)
    middle = np.linalg.matrix_power(matrix, substeps // 2)
    expected = float(read @ middle @ covariance @ middle.T @ read)
    variance = output_variance(rule[:, None], np.array([[1.0], [0.25]]), np.array([substeps]))
    assert variance[0] == pytest.approx(expected, rel=1e-6)


def test_step_noise_gives_the_output_noise_of_the_formula() -> None:
    bank, process, substeps = FilterBank(), Process(), np.array([1, 1, 2, 2, 2, 2, 2, 3])
    noise_v = bank.step_noise_v(process, 1.0 / 32_000.0, substeps)
    variance = output_variance(bank.step_rules(1.0 / (32_000.0 * substeps)), noise_v**2, substeps)
    np.testing.assert_allclose(np.sqrt(variance), bank.output_noise_v(process))
