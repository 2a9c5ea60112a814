"""The simulator held to ngspice, block by block and whole, on a real recording."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.rates import input_delay_s, oversampling_for
from lightsleeper.circuits.spice.chain import chain_overlay, chain_rows, comparator_rows, simulate_decision
from lightsleeper.circuits.spice.comparison import Overlay, Row, Verification
from lightsleeper.circuits.spice.engine import engine_version
from lightsleeper.circuits.spice.excerpt import Excerpt, loudest_excerpt
from lightsleeper.circuits.spice.small_signal import ac_rows, noise_rows, operating_point_rows
from lightsleeper.circuits.spice.transient import BandWaves, bank_overlays, bank_rows, simulate_band, simulate_settled
from lightsleeper.circuits.spice.transistor_level import compare_levels, small_signal_rows, transistor_band
from lightsleeper.circuits.spice.transistors import OtaKind

__all__ = ["LEVELS_DB", "verify_frontend"]

LEVELS_DB = (-40.0, -20.0, 0.0)
"""Levels of the recording's peak over the amplifier's clipping, dB."""
EXCERPT_S = 0.15
TRANSISTOR_EXCERPT_S = 0.05

TransistorResult = tuple[list[Row], list[Overlay], dict[str, float]]


class Progress(Protocol):
    """Told how many units a step has, and when one is done."""

    def begin(self, step: str, total: int) -> None:
        """A new step."""

    def advance(self, units: int = 1) -> None:
        """Units of it are done."""


def verify_frontend(
    frontend: FrontEnd,
    samples: NDArray[np.floating],
    rate_hz: float,
    *,
    progress: Progress,
    levels_db: Sequence[float] = LEVELS_DB,
    workers: int | None = None,
) -> Verification:
    """Operating point, AC, noise and transients of every block and of the whole chain, at two levels of the circuit.

    Args:
        frontend: the stage.
        samples: a recording (T,), any scale; its loudest 0.15 s are used.
        rate_hz: its sample rate.
        progress: told of the steps.
        levels_db: peaks of the excerpt over the amplifier's clipping.
        workers: ngspice processes side by side; None takes the number of cores.

    Raises:
        MissingToolError: ngspice is not installed.
        SpiceError: it failed.
        InputError: the recording is silent, not finite or too short, or its rate does not suit the stage.
    """
    engine = engine_version()
    excerpt = loudest_excerpt(samples, rate_hz, duration_s=EXCERPT_S)
    short = loudest_excerpt(samples, rate_hz, duration_s=TRANSISTOR_EXCERPT_S, lead_s=0.005)
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        try:
            rows, overlays, delay_s = _behavioural(frontend, excerpt, levels_db, progress, pool)
            transistors = _transistors(frontend, short, levels_db, progress, pool)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    naive: dict[str, float] = {}
    for more_rows, more_overlays, errors in transistors:
        rows += more_rows
        overlays += more_overlays
        naive |= errors
    conditions: dict[str, Any] = {
        "rate_hz": rate_hz,
        "levels_db_of_clipping": list(levels_db),
        "excerpt_s": excerpt.duration_s,
        "transistor_excerpt_s": short.duration_s,
        "simulator_delay_s": delay_s,
        "naive_percent": naive,
    }
    return Verification(engine, rows, overlays, conditions)


def _behavioural(
    frontend: FrontEnd, excerpt: Excerpt, levels_db: Sequence[float], progress: Progress, pool: ThreadPoolExecutor
) -> tuple[list[Row], list[Overlay], float]:
    progress.begin("small signals", 0)
    rows = operating_point_rows(frontend)
    ac, overlays = ac_rows(frontend, excerpt.rate_hz)
    rows += [*ac, *noise_rows(frontend, excerpt.rate_hz), *comparator_rows(frontend)]
    simulated = {
        level_db: simulate_settled(frontend, excerpt.microphone_v(frontend.amplifier, level_db), excerpt.rate_hz)
        for level_db in levels_db
    }
    bands = frontend.bank.bands
    progress.begin("behavioural transients", bands * len(levels_db))
    texts = {level_db: excerpt.source_text(frontend.amplifier, level_db) for level_db in levels_db}
    # The highest bands take the most steps: they go first, so that no core waits for one of them at the end.
    order = [(level_db, number) for number in range(bands, 0, -1) for level_db in levels_db]

    def one_band(case: tuple[float, int]) -> BandWaves:
        found = simulate_band(frontend, case[1], texts[case[0]], excerpt.duration_s)
        progress.advance()
        return found

    found = dict(zip(order, pool.map(one_band, order), strict=True))
    by_level = {level_db: [found[level_db, number] for number in range(1, bands + 1)] for level_db in levels_db}
    oversampling = oversampling_for(excerpt.rate_hz, max(frontend.bank.center_hz))
    delay_s = input_delay_s(excerpt.rate_hz, oversampling)
    for level_db in levels_db:
        waves, spice = simulated[level_db], by_level[level_db]
        bank = bank_rows(frontend, level_db, waves, spice, delay_s)
        decision = simulate_decision(frontend, spice, excerpt.duration_s)
        rows += [*bank, *chain_rows(frontend, level_db, waves, decision, delay_s)]
        overlays += bank_overlays(frontend, level_db, waves, spice, bank, delay_s)
        overlays.append(chain_overlay(level_db, waves, decision, delay_s))
    return rows, overlays, delay_s


def _transistors(
    frontend: FrontEnd, excerpt: Excerpt, levels_db: Sequence[float], progress: Progress, pool: ThreadPoolExecutor
) -> list[TransistorResult]:
    """Lowest, middle and highest band of five-transistor, the middle one of wide-range transconductors."""
    ranked = sorted(range(1, frontend.bank.bands + 1), key=lambda number: frontend.bank.center_hz[number - 1])
    middle = ranked[len(ranked) // 2]
    plain = sorted({ranked[0], middle, ranked[-1]}, key=ranked.index, reverse=True)
    cases = [(OtaKind.FIVE_TRANSISTOR, number) for number in plain] + [(OtaKind.WIDE_RANGE, middle)]
    progress.begin("transistors", len(cases))

    def one_band(case: tuple[OtaKind, int]) -> TransistorResult:
        kind, number = case
        band = transistor_band(frontend, number, kind)
        rows, overlay = small_signal_rows(frontend, band)
        transient_rows, overlays, naive = compare_levels(frontend, band, excerpt, levels_db)
        progress.advance()
        return [*rows, *transient_rows], [overlay, *overlays], naive

    return list(pool.map(one_band, cases))
