"""How many of the chips made do what was designed."""

from enum import StrEnum
from typing import Annotated

import typer

from lightsleeper.cli.app import Json, RunArgument, app
from lightsleeper.cli.output import print_json, print_tables, progress_bar
from lightsleeper.errors import InputError

__all__ = ["manufacture"]


class Weights(StrEnum):
    """How the network's weights are stored."""

    CHARGE = "charge"
    RATIO = "ratio"


@app.command(name="yield", epilog="Example: lightsleeper yield glass --chips 1000 --temperatures=-20,27,60")
def manufacture(
    run: RunArgument,
    chips: Annotated[int, typer.Option(min=1, help="Chips to make, rounded up to groups of 16.")] = 96,
    temperatures: Annotated[str, typer.Option(help="At which each is tested, C; --temperatures=-20,60.")] = "-20,27,60",
    weights: Annotated[Weights, typer.Option(help="Charges on floating gates, or ratios of devices.")] = Weights.CHARGE,
    transistors: Annotated[
        bool, typer.Option("--transistors", help="Filters with the errors of their transistors.")
    ] = False,
    bits: Annotated[int, typer.Option(min=1, max=12, help="Of every trim.")] = 6,
    years: Annotated[float, typer.Option(min=0, max=25, help="Age of the chips when tested.")] = 0.0,
    minutes: Annotated[float, typer.Option(min=1, max=600, help="Length of a test.")] = 15.0,
    retests: Annotated[int, typer.Option(min=0, max=20, help="More tests of chips near a limit.")] = 3,
    sequence: Annotated[float, typer.Option(min=0.5, max=60, help="Minutes that calibration hears.")] = 10.0,
    effects: Annotated[bool, typer.Option(help="Measure each effect alone as well.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Seed of chips, sounds and noise.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    cluster: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://HOST:PORT.")] = None,
    as_json: Json = False,
) -> None:
    """Monte Carlo over chips and temperatures, before and after calibration; resumes where an earlier call stopped."""
    from lightsleeper.benchmarks import on_cluster  # noqa: PLC0415  torch takes seconds to import
    from lightsleeper.design import YieldSettings, load_design, measure_yield  # noqa: PLC0415
    from lightsleeper.report import YIELD_HEADING, write_yield, yield_lines  # noqa: PLC0415

    settings = YieldSettings(
        chips=chips,
        temperatures_c=_temperatures(temperatures),
        weight_law=weights.value,
        transistors=transistors,
        bits=bits,
        years=years,
        test_s=60.0 * minutes,
        retests=retests,
        sequence_s=60.0 * sequence,
        effects=effects,
        seed=seed,
    )
    design = load_design(run)
    with progress_bar() as progress, on_cluster(cluster):
        figures = measure_yield(
            design, settings, store=run / "yield.jsonl", workers=-1 if cluster else workers, progress=progress
        )
    write_yield(run / "yield.html", figures)
    if as_json:
        print_json(figures)
        return
    print_tables(YIELD_HEADING, yield_lines(figures))
    low, high = figures["yield_interval"]
    print(f"{figures['yield']:.1%} of {figures['chips']} chips are good at all temperatures ({low:.1%} to {high:.1%})")
    print(f"\nOpen {run / 'yield.html'}")


def _temperatures(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(f"--temperatures is {text!r}: give degrees Celsius separated by commas") from None
