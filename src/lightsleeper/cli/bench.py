"""Benchmarks against peers."""

import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from lightsleeper.cli.app import Json, bench
from lightsleeper.cli.output import print_json, print_tables, progress_bar
from lightsleeper.errors import InputError

__all__ = ["averaging", "circuits", "device", "idle"]

_Number = TypeVar("_Number", int, float)

_LATE = {"late_alone_s": "late alone, ms", "late_beside_s": "beside, ms"}


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
    with progress_bar() as progress:
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
        print_json({"rows": rows})
    elif cost:
        print_tables(benchmarks.COST_HEADING, benchmarks.cost_tables(rows))
    else:
        print_tables(benchmarks.SUMMARY_HEADING, benchmarks.summary_tables(rows))
        print("\n".join(benchmarks.SUMMARY_NOTES))
        print(f"\nOpen {out / 'averaging.html'}")


@bench.command(epilog="Example: lightsleeper bench circuits --quick")
def circuits(
    quick: Annotated[bool, typer.Option("--quick", help="Shorter sounds and fewer repeats.")] = False,
    as_json: Json = False,
) -> None:
    """Simulated first stage against scipy's linear filters, a torch loop and ngspice: time, gradient, memory."""
    from lightsleeper import benchmarks  # noqa: PLC0415  torch takes seconds to import

    with progress_bar() as progress:
        rows = benchmarks.bench_circuits(quick=quick, progress=progress)
    if as_json:
        print_json({"rows": rows})
        return
    for title, heading, cells in benchmarks.circuit_tables(rows):
        print_tables(heading, [(title, cells)])


@bench.command(epilog="Example: lightsleeper bench device --quick")
def device(
    quick: Annotated[bool, typer.Option("--quick", help="The small fully connected network alone.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print the memory map of every plan; run nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Generated C on emulated Cortex-M and RISC-V cores: weights against PyTorch, exact instruction counts, memory."""
    from lightsleeper import benchmarks  # noqa: PLC0415  torch takes seconds to import

    if explain:
        for title, lines in benchmarks.memory_maps():
            print(f"{title}\n" + "\n".join(f"  {line}" for line in lines) + "\n")
        return
    with progress_bar() as progress:
        rows = benchmarks.bench_device(quick=quick, progress=progress)
    if as_json:
        print_json({"rows": rows})
        return
    for title, heading, cells in benchmarks.device_tables(rows):
        print_tables(heading, [(title, cells)])


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
    from lightsleeper import device as trainer  # noqa: PLC0415

    duties, budgets = ([trainer.parse_share(part) for part in _listed(text) or ()] for text in (duty, cpu))
    if not (duties and budgets and all(duties) and all(budgets)):
        raise InputError("--duty and --cpu: give shares over 0 %, separated by commas")
    with progress_bar() as progress:
        progress.begin("measuring", len(duties) * (len(budgets) + 2) * rounds)
        rows = trainer.bench_idle(
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
        print_json({"rows": [row.as_dict() for row in rows]})
    else:
        _print_beside([row.as_dict() for row in rows])


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _numbers(option: str, text: str | None, kind: type[_Number]) -> list[_Number] | None:
    try:
        return None if text is None else [kind(part) for part in _listed(text) or ()]
    except ValueError as error:
        raise InputError(f"{option} is {text!r}: give numbers separated by commas") from error


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
    print_tables(heading, [(f"{first['placement']}, {first['rounds']} pairs of {first['round_s']:g} s", lines)])
    print(
        "kept: median of pairs (lowest); of both: its part of the CPU time that both took; "
        "late: from due to done, median / 95 %"
    )
    if first["memory_left_percent"] is not None:
        least = min(row["memory_left_percent"] for row in rows)
        print(f"at least {least:.1f} % of the memory is left for useful work")
