"""Verbs of the command line: they parse and print, and decide nothing."""

import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lightsleeper.errors import InputError, LightsleeperError, VerificationError

__all__ = ["app", "main", "run"]

_Number = TypeVar("_Number", int, float)

EXIT_BAD_INPUT = 2
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

app = typer.Typer(
    help="Design, train and measure sensors that sleep until something matters and learn while they rest.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

bench = typer.Typer(help="Benchmarks against peers, with plots.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(bench, name="bench")

Json = Annotated[bool, typer.Option("--json", help="Print figures as JSON on standard output.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder made by `lightsleeper design`.")]


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
    with new_run(out, force=force) as folder, _bar() as progress:
        summary = design_into(folder, asked, progress)
        write_report(folder)
        write_notebook(folder)
    if as_json:
        _print_json(summary)
    else:
        _print_figures(summary)
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
    with _bar() as progress:
        progress.begin("reading recordings", 0)
        known = read_folder(recordings, rate_hz=int(finished.spec.scene.rate_hz), skip_bad=skip_bad)
        summary = evaluate_design(finished, known, hours=hours, snr_db=snr_db, seed=seed, progress=progress)
    if as_json:
        _print_json(summary)
    else:
        _print_figures(summary)


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
        _print_json(result)
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
        _print_json(energy)
    else:
        _print_power(energy)


@app.command(epilog="Example: lightsleeper verify glass --recording breaking_glass.wav")
def verify(
    run: RunArgument,
    recording: Annotated[Path | None, typer.Option(help="Sound; one of the design's own without.")] = None,
    as_json: Json = False,
) -> None:
    """Hold the simulator against ngspice, block by block and whole; exit code 1 where a limit is missed."""
    from lightsleeper.design import load_design, verify_design  # noqa: PLC0415
    from lightsleeper.report import VERIFICATION_HEADING, verification_lines, write_verification  # noqa: PLC0415

    finished = load_design(run)
    with _bar() as progress:
        found = verify_design(finished, recording, progress=progress)
    page = run / "verification.html"
    write_verification(page, found)
    if as_json:
        _print_json(found.to_dict())
    else:
        title = f"{found.conditions['recording']}, simulator against {found.engine}"
        _print_tables(VERIFICATION_HEADING, [(title, verification_lines(found))])
        print(f"\nOpen {page}")
    failed = sum(not row.passed for row in found.rows)
    if failed:
        raise VerificationError(f"{failed} of {len(found.rows)} rows miss their limit; see {page}")


@app.command(epilog="Example: lightsleeper export glass --to spice --out glass.cir")
def export(
    run: RunArgument,
    to: Annotated[str, typer.Option(help="spice: a netlist for ngspice.")],
    out: Annotated[Path | None, typer.Option(help="File to write; RUN/frontend.cir without.")] = None,
    as_json: Json = False,
) -> None:
    """Write an artefact of a finished design for another tool."""
    from lightsleeper.circuits.spice import write_netlist  # noqa: PLC0415
    from lightsleeper.design import load_design  # noqa: PLC0415

    if to != "spice":
        raise InputError(f"--to is {to!r}: give spice")
    path = run / "frontend.cir" if out is None else out
    write_netlist(load_design(run).frontend, path)
    if as_json:
        _print_json({"file": str(path)})
    else:
        print(path)


@bench.command(epilog="Example: lightsleeper bench averaging --tasks digits --methods sgd,one_cycle,schedule_free")
def averaging(
    data: Annotated[Path | None, typer.Option(help="Folder of data sets; LIGHTSLEEPER_DATA without.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Names, comma-separated; headline tasks without.")] = None,
    methods: Annotated[str | None, typer.Option(help="Names, comma-separated; all without.")] = None,
    batch: Annotated[str | None, typer.Option(help="Batch sizes such as 1,8,32; each task's own without.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 3,
    lr_grid: Annotated[str | None, typer.Option(help="Effective rates lr/(1 - momentum), such as 0.01,0.1,1.")] = None,
    scenario: Annotated[str, typer.Option(help="clean, glitch, change or ordered.")] = "clean",
    cost: Annotated[bool, typer.Option("--cost", help="Time and memory of a step instead.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of finished runs, rows and page.")] = Path("bench-averaging"),
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the steps (of the rounds with --cost).")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    cluster: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://HOST:PORT.")] = None,
    as_json: Json = False,
) -> None:
    """Weight-averaging optimizers against their rivals; resumes where an earlier call with this --out stopped."""
    from lightsleeper import benchmarks  # noqa: PLC0415  torch takes seconds to import

    names = _listed(methods)
    with _bar() as progress:
        if cost:
            rows = benchmarks.bench_cost(names, quick=quick, progress=progress)
        else:
            rows = benchmarks.bench_averaging(
                out,
                data=data,
                tasks=_listed(tasks),
                methods=names,
                batches=_numbers("--batch", batch, int),
                seeds=seeds,
                rates=_numbers("--lr-grid", lr_grid, float),
                scenario=scenario,
                quick=quick,
                workers=workers,
                cluster=cluster,
                progress=progress,
            )
    if as_json:
        _print_json({"rows": rows})
    elif cost:
        _print_tables(benchmarks.COST_HEADING, benchmarks.cost_tables(rows))
    else:
        _print_tables(benchmarks.SUMMARY_HEADING, benchmarks.summary_tables(rows))
        print("\n".join(benchmarks.SUMMARY_NOTES))
        print(f"\nOpen {out / 'averaging.html'}")


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _numbers(option: str, text: str | None, kind: type[_Number]) -> list[_Number] | None:
    try:
        return None if text is None else [kind(part) for part in _listed(text) or ()]
    except ValueError as error:
        raise InputError(f"{option} is {text!r}: give numbers separated by commas") from error


def _print_tables(heading: Sequence[str], tables: Sequence[tuple[str, Sequence[Sequence[str]]]]) -> None:
    # Into a pipe rich writes 80 columns, which would break the lines of cells.
    console = Console() if sys.stdout.isatty() else Console(width=130)
    for title, lines in tables:
        table = Table(*heading, title=title)
        for line in lines:
            table.add_row(*line)
        console.print(table)


def main() -> None:
    """Entry point: what `run` does, with the arguments and the exit code of the process."""
    code = run(sys.argv[1:])
    if code:
        sys.stdout.flush()
        sys.stderr.flush()
        # Threads may still train; where the interpreter is taken down under them, torch aborts with another exit code.
        os._exit(code)


def run(arguments: list[str]) -> int:
    """Exit code of a command: 0, 1 (failed), 2 (bad input), 130 (interrupted); what a person can mend is one line."""
    try:
        code = app(arguments or ["--help"], standalone_mode=False)
    except InputError as error:
        return _fail(str(error), EXIT_BAD_INPUT)
    except LightsleeperError as error:
        return _fail(str(error), EXIT_FAILED)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if usage is None:
            raise
        return _fail(usage(), EXIT_BAD_INPUT)
    # Typer hands back Ctrl-C as an exit code, and a verb's None.
    if code == EXIT_INTERRUPTED:
        kept = "finished runs are kept" if arguments[:1] == ["bench"] else "nothing was written"
        return _fail(f"interrupted; {kept}", code)
    return int(code or 0)


def _fail(message: str, code: int) -> int:
    print(f"lightsleeper: {' '.join(message.split())}", file=sys.stderr)
    return code


class _Bar:
    """Shows the current step on standard error."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: Any = None
        self._lock = threading.Lock()

    def begin(self, step: str, total: int) -> None:
        """A new step."""
        with self._lock:
            if self._task is not None:
                self._bar.update(self._task, total=1, completed=1)
            self._task = self._bar.add_task(step, total=total or None)

    def advance(self, units: int = 1) -> None:
        """Units of the step are done."""
        with self._lock:
            self._bar.advance(self._task, units)


@contextmanager
def _bar() -> Iterator[_Bar]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield _Bar(bar)


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=2, allow_nan=False))


def _print_figures(summary: dict[str, Any]) -> None:
    task, first, system, energy = (summary[key] for key in ("task", "first_stage", "system", "energy"))
    kind = " (synthetic recordings)" if task["synthetic"] else ""
    title = f"{task['wake']}: {task['recordings']}{kind}"
    table = Table("figure", "value", "95 % interval", title=title)
    rows: list[tuple[str, float | None, str, list[float] | None]] = [
        ("first stage: recall", first["recall"], ".3f", first["recall_interval"]),
        (
            "first stage: false wakes per hour",
            first["false_wakes_per_hour"],
            ".2f",
            first["false_wakes_per_hour_interval"],
        ),
        (
            "first stage: false wakes per hour, bare floor",
            first["false_wakes_per_hour_floor"],
            ".2f",
            first["false_wakes_per_hour_floor_interval"],
        ),
        ("first stage: power, uW", first["power_w"] * 1e6, ".2f", None),
        ("both stages: miss rate", system["miss_rate"], ".3f", system["miss_rate_interval"]),
        (
            "both stages: false accepts per hour",
            system["false_accepts_per_hour"],
            ".2f",
            system["false_accepts_per_hour_interval"],
        ),
        (
            "battery life, days",
            energy["analyse_first"]["battery_days"],
            ".0f",
            energy["analyse_first"]["battery_days_interval"],
        ),
    ]
    for name, extension in energy["battery_life_extension_percent"].items():
        interval = energy["battery_life_extension_percent_interval"][name]
        rows.append((f"battery life against digitise-first ({name}), %", extension, "+.0f", interval))
    for label, value, style, interval in rows:
        table.add_row(
            label, _number(value, style), "" if interval is None else " to ".join(_number(v, style) for v in interval)
        )
    console = Console()
    console.print(table)
    console.print(
        f"{task['test_events']} events, {task['test_foreign']} foreign sounds, {task['test_hours']:.1f} h of streams "
        f"from {task['test_clips']} unseen clips of {task['test_sources']} sources; "
        f"wake events {task['snr_db']:g} dB over the floor",
        highlight=False,
    )


def _number(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)


def _print_power(energy: dict[str, Any]) -> None:
    table = Table("system", "part", "state", "uW", "source", title=f"battery {energy['battery']['name']}")
    systems = {"analyse_first": energy["analyse_first"], **energy["digitise_first"]}
    for name, system in systems.items():
        for part in system["parts"]:
            table.add_row(name, part["part"], part["state"], f"{part['power_w'] * 1e6:.2f}", part["source"])
        table.add_row(
            name, "total", "", f"{system['power_w'] * 1e6:.2f}", f"{system['battery_days']:.0f} days", end_section=True
        )
    console = Console()
    console.print(table)
    for name, extension in energy["battery_life_extension_percent"].items():
        even = energy["break_even_wakes_per_hour"][name]
        where = "no rate" if even is None else f"{even:.1f} wakes an hour"
        console.print(f"against {name}: {extension:+.0f} % battery life; break-even at {where}", highlight=False)
