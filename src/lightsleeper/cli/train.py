"""Training of a generated model on this device."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from lightsleeper.cli.app import Json, app
from lightsleeper.cli.output import print_json
from lightsleeper.errors import InputError

__all__ = ["train"]


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
        print_json(report.as_dict())
    else:
        _print_idle(report.as_dict())


@contextmanager
def _training_bar(total: int | None) -> Iterator[tuple[Callable[[int, str], None], Callable[[str], None]]]:
    """Two functions: one shows samples taken and what goes on, one prints a line. It draws only when told to."""
    columns = (TextColumn("{task.completed:,.0f} samples"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as bar:
        task = bar.add_task("", total=total)

        def show(taken: int, doing: str) -> None:
            bar.update(task, completed=taken, description=doing, refresh=bar.console.is_terminal)

        yield show, lambda line: bar.console.print(line, highlight=False, soft_wrap=True)


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
