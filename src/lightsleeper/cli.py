"""Verbs of the command line: they parse and print, and decide nothing."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lightsleeper.errors import InputError, LightsleeperError

__all__ = ["app", "main", "run"]

_Number = TypeVar("_Number", int, float)

_LATE = {"late_alone_s": "late alone, ms", "late_beside_s": "beside, ms"}

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


@app.command(epilog="Example: lightsleeper train --idle --cpu 20% --library net.so --data wakes.npz --state net.state")
def train(
    library: Annotated[Path, typer.Option(help="Model made by lightsleeper.device.build_library.")],
    data: Annotated[Path, typer.Option(help="Samples: .npz with arrays x and y.")],
    state: Annotated[Path, typer.Option(help="File of the checkpoints; training goes on from it.")],
    idle: Annotated[
        bool, typer.Option("--idle", help="In idle time: last in line, within budgets, with pauses.")
    ] = False,
    samples: Annotated[int | None, typer.Option(min=1, help="Samples to take in all; none: until a signal.")] = None,
    cpu: Annotated[str, typer.Option(help="Most share of one processor.")] = "20%",
    memory: Annotated[str, typer.Option(help="Most resident memory of the process.")] = "64MB",
    energy: Annotated[
        str | None, typer.Option(help="Most energy, such as 200J/day or 3mW; asks --active-power.")
    ] = None,
    active_power: Annotated[str | None, typer.Option(help="What a busy processor draws over a resting one.")] = None,
    battery: Annotated[str, typer.Option(help="Least charge while the battery discharges.")] = "50%",
    temperature_c: Annotated[float, typer.Option(help="Highest temperature of the device.")] = 70.0,
    load: Annotated[str, typer.Option(help="Most share of all processors that others may take.")] = "75%",
    cpu_pressure: Annotated[str, typer.Option(help="Most share of time that tasks may wait for a processor.")] = "10%",
    cgroup: Annotated[str | None, typer.Option(help="Of the useful work, to watch its pressure alone.")] = None,
    save_every_s: Annotated[float, typer.Option(min=0.1, help="Time between checkpoints.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Train a generated model on this device without torch, in idle time, and say what is left for useful work."""
    if not idle:
        raise InputError("train works in idle time alone so far: say --idle")
    # Threads of a linear algebra that is never called would take memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from lightsleeper import device  # noqa: PLC0415

    budget = device.Budget(
        cpu_share=device.parse_share(cpu),
        memory_bytes=device.parse_bytes(memory),
        power_w=None if energy is None else device.parse_power_w(energy),
        active_power_w=None if active_power is None else device.parse_power_w(active_power),
    )
    limits = device.Limits(
        battery_charge=device.parse_share(battery),
        temperature_c=temperature_c,
        others_share=device.parse_share(load),
        cpu_pressure=device.parse_share(cpu_pressure),
    )
    with _training_bar(samples) as (show, say):
        report = device.train_idle(
            library=library,
            data=data,
            state=state,
            budget=budget,
            limits=limits,
            cgroup=cgroup,
            samples=samples,
            save_every_s=save_every_s,
            show=show,
            say=say,
        )
    if as_json:
        _print_json(report.as_dict())
    else:
        _print_idle(report.as_dict())


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


@bench.command(epilog="Example: lightsleeper bench idle --library net.so --data wakes.npz --duty 100%,30%")
def idle(
    library: Annotated[Path, typer.Option(help="Model made by lightsleeper.device.build_library.")],
    data: Annotated[Path, typer.Option(help="Samples: .npz with arrays x and y.")],
    duty: Annotated[str, typer.Option(help="Shares of its time that the useful work works.")] = "100%,30%",
    cpu: Annotated[str, typer.Option(help="Budgets of `train --idle`.")] = "20%,100%",
    rounds: Annotated[int, typer.Option(min=1, help="Pairs of a round alone and one beside the trainer.")] = 5,
    round_s: Annotated[float, typer.Option(min=0.1, help="Length of a round.")] = 1.0,
    any_processor: Annotated[bool, typer.Option("--any-processor", help="Do not force all onto one.")] = False,
    as_json: Json = False,
) -> None:
    """Useful work beside a trainer: how much of its processor time, work and punctuality it keeps."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from lightsleeper import device  # noqa: PLC0415

    duties, budgets = ([device.parse_share(part) for part in _listed(text) or ()] for text in (duty, cpu))
    if not (duties and budgets and all(duties) and all(budgets)):
        raise InputError("--duty and --cpu: give shares over 0 %, separated by commas")
    with _bar() as progress:
        progress.begin("measuring", len(duties) * (len(budgets) + 2) * rounds)
        rows = device.bench_idle(
            library=library,
            data=data,
            duties=duties,
            budgets=budgets,
            rounds=rounds,
            round_s=round_s,
            placement="any processor" if any_processor else "one processor",
            advance=lambda _: progress.advance(),
        )
    if as_json:
        _print_json({"rows": [row.as_dict() for row in rows]})
    else:
        _print_beside([row.as_dict() for row in rows])


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


@contextmanager
def _training_bar(total: int | None) -> Iterator[tuple[Callable[[int, str], None], Callable[[str], None]]]:
    """Two functions: one shows samples taken and what goes on, one prints a line. It draws only when told to."""
    columns = (TextColumn("{task.completed:,.0f} samples"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as bar:
        task = bar.add_task("", total=total)

        def show(taken: int, doing: str) -> None:
            bar.update(task, completed=taken, description=doing, refresh=bar.console.is_terminal)

        yield show, lambda line: bar.console.print(line, highlight=False, soft_wrap=True)


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


def _print_idle(report: dict[str, Any]) -> None:
    table = Table("figure", "value", title="training in idle time")
    skipped = f", {report['skipped']:,} skipped" if report["skipped"] else ""
    rows = [
        ("samples in all", f"{report['samples']:,}{skipped}"),
        ("samples now", f"{report['samples_now']:,} in {report['seconds']:.1f} s"),
        ("waited for its budget", f"{report['budget_wait_s']:.1f} s"),
        *((f"paused: {reason}", f"{seconds:.1f} s") for reason, seconds in report["paused_s"].items()),
        ("share of one processor", f"{report['cpu_share']:.2%}"),
        ("processor time left for useful work", f"{report['cpu_left_percent']:.2f} %"),
        ("most resident memory", f"{report['memory_peak_bytes'] / 1e6:.1f} MB"),
    ]
    if report["memory_left_percent"] is not None:
        rows.append(("memory left for useful work", f"{report['memory_left_percent']:.2f} %"))
    for label, value in rows:
        table.add_row(label, value)
    console = Console()
    console.print(table)
    if report["stopped"]:
        console.print("stopped by a signal; the state is saved", highlight=False)


def _print_beside(rows: list[dict[str, Any]]) -> None:
    heading = (
        "useful work",
        "trainer",
        "work kept, %",
        "CPU kept, %",
        "of both, %",
        *_LATE.values(),
        "trainer CPU",
        "MB",
    )
    lines = []
    for row in rows:
        late = ["" if row[key] is None else "{:.1f} / {:.1f}".format(*(1e3 * s for s in row[key])) for key in _LATE]
        kept = [f"{row[f'{k}_kept_percent']:.2f} ({row[f'{k}_kept_range'][0]:.1f})" for k in ("work", "cpu")]
        kept.append("" if row["cpu_of_both_percent"] is None else f"{row['cpu_of_both_percent']:.2f}")
        taken = (f"{row['trainer_cpu_share']:.2%}", f"{row['trainer_memory_bytes'] / 1e6:.0f}")
        lines.append((row["foreground"], row["trainer"], *kept, *late, *taken))
    first = rows[0]
    _print_tables(heading, [(f"{first['placement']}, {first['rounds']} pairs of {first['round_s']:g} s", lines)])
    print(
        "kept: median of pairs (lowest); of both: its part of the CPU time that both took; "
        "late: from due to done, median / 95 %"
    )
    if first["memory_left_percent"] is not None:
        least = min(row["memory_left_percent"] for row in rows)
        print(f"at least {least:.1f} % of the memory is left for useful work")


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
