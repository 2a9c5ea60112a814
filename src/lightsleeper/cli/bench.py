"""Benchmarks against peers."""

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from lightsleeper.cli.app import Json, bench
from lightsleeper.cli.output import print_json, print_tables, progress_bar
from lightsleeper.errors import InputError

__all__ = ["averaging", "device"]

_Number = TypeVar("_Number", int, float)


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


@bench.command(epilog="Example: lightsleeper bench device --quick")
def device(
    quick: Annotated[bool, typer.Option("--quick", help="The small fully connected network alone.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print the memory map of every plan; run nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Generated C on emulated Cortex-M4F, M7 and M0+: weights against PyTorch, exact instruction counts, memory."""
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


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _numbers(option: str, text: str | None, kind: type[_Number]) -> list[_Number] | None:
    try:
        return None if text is None else [kind(part) for part in _listed(text) or ()]
    except ValueError as error:
        raise InputError(f"{option} is {text!r}: give numbers separated by commas") from error
