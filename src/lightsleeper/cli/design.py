"""Verbs of a design: make it, measure it elsewhere, listen to it, weigh its energy."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lightsleeper.cli.app import Json, RunArgument, app
from lightsleeper.cli.output import print_figures, print_json, print_power, progress_bar

__all__ = ["design", "evaluate", "power", "simulate"]


@app.command(epilog="Example: lightsleeper design --recordings sounds --wake glass_breaking --out glass")
def design(
    spec: Annotated[Path | None, typer.Argument(metavar="[SPEC.toml]", help="What is asked; defaults without.")] = None,
    recordings: Annotated[Path | None, typer.Option(help="Folder of labelled recordings; none: built-in ones.")] = None,
    wake: Annotated[str | None, typer.Option(help="Label that the device wakes for.")] = None,
    out: Annotated[Path, typer.Option(help="Run folder to make.")] = Path("run"),
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an older run in --out.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out files that cannot be read.")] = False,
    as_json: Json = False,
) -> None:
    """Design an always-on sensor from labelled recordings, measure it on unseen ones, write a run folder."""
    from lightsleeper.design import design_into, load_spec, new_run  # noqa: PLC0415  torch takes seconds to import
    from lightsleeper.report import write_notebook, write_report  # noqa: PLC0415

    given = {"recordings": None if recordings is None else str(recordings), "wake": wake, "seed": seed}
    overrides: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if skip_bad:
        overrides["skip_bad"] = True
    asked = load_spec(spec, **overrides)
    with new_run(out, force=force) as folder, progress_bar() as progress:
        summary = design_into(folder, asked, progress)
        write_report(folder)
        write_notebook(folder)
    if as_json:
        print_json(summary)
    else:
        print_figures(summary)
        Console().print(f"\nOpen {out / 'report.html'}", highlight=False)


@app.command(epilog="Example: lightsleeper evaluate glass --recordings other_sounds --hours 2")
def evaluate(
    run: RunArgument,
    recordings: Annotated[Path, typer.Option(help="Folder of labelled recordings that the design never saw.")],
    hours: Annotated[float, typer.Option(min=0.25, max=100, help="Dense hours; as many of bare floor.")] = 2.0,
    snr_db: Annotated[float | None, typer.Option(help="Level of wake events over the floor.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the streams.")] = 0,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out files that cannot be read.")] = False,
    as_json: Json = False,
) -> None:
    """Measure a finished design on recordings that it never saw."""
    from lightsleeper.design import evaluate_design, load_design  # noqa: PLC0415
    from lightsleeper.recordings import read_folder  # noqa: PLC0415

    finished = load_design(run)
    with progress_bar() as progress:
        progress.begin("reading recordings", 0)
        known = read_folder(recordings, rate_hz=int(finished.spec.scene.rate_hz), skip_bad=skip_bad)
        summary = evaluate_design(finished, known, hours=hours, snr_db=snr_db, seed=seed, progress=progress)
    if as_json:
        print_json(summary)
    else:
        print_figures(summary)


@app.command(epilog="Example: lightsleeper simulate glass doorbell.wav --level-db-spl 50")
def simulate(
    run: RunArgument,
    sound: Annotated[Path, typer.Argument(metavar="SOUND.wav", help="A recording: WAV, FLAC or OGG.")],
    level_db_spl: Annotated[
        float, typer.Option(min=-50, max=200, help="Level of the sound's active part at the microphone.")
    ] = 50.0,
    noise_seed: Annotated[int, typer.Option(help="Seed of the circuit's noise; -1 for none.")] = 0,
    waveforms: Annotated[Path | None, typer.Option(help="Write every net as arrays to this .npz file.")] = None,
    as_json: Json = False,
) -> None:
    """Simulate a recording through the first stage: the waveform at every net, and when it wakes."""
    from lightsleeper.design import load_design, simulate_sound  # noqa: PLC0415

    result = simulate_sound(
        load_design(run),
        sound,
        level_db_spl=level_db_spl,
        noise_seed=None if noise_seed < 0 else noise_seed,
        waveforms=waveforms,
    )
    if as_json:
        print_json(result)
        return
    table = Table("net", "lowest V", "highest V", title=f"{sound} at {level_db_spl:g} dB SPL")
    for net, span in result["nets"].items():
        table.add_row(net, f"{span['low_v']:.4f}", f"{span['high_v']:.4f}")
    console = Console()
    console.print(table)
    times = ", ".join(f"{time:.2f} s" for time in result["wakes_s"]) or "never"
    console.print(f"wakes: {times} (threshold {result['threshold_v'] * 1e3:.1f} mV)", highlight=False)


@app.command(epilog="Example: lightsleeper power glass --wakes-per-hour 4")
def power(
    run: RunArgument,
    wakes_per_hour: Annotated[float | None, typer.Option(min=0, help="All wakes; measured ones without.")] = None,
    as_json: Json = False,
) -> None:
    """Energy by part and state, battery life, and its curve over wakes per hour."""
    from lightsleeper.design import load_design, load_summary, power_of  # noqa: PLC0415

    energy = power_of(load_design(run), load_summary(run), wakes_per_hour=wakes_per_hour)
    if as_json:
        print_json(energy)
    else:
        print_power(energy)
