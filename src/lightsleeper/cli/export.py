"""Artefacts of a finished design for other tools."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lightsleeper.cli.app import Json, RunArgument, app
from lightsleeper.cli.output import print_json
from lightsleeper.errors import InputError

__all__ = ["export"]

TRAINABLE = ("last", "biases", "all")


@app.command(epilog="Example: lightsleeper export glass --to c --train last --ram-kib 256")
def export(
    run: RunArgument,
    to: Annotated[str, typer.Option(help="c or spice.")] = "c",
    out: Annotated[
        Path | None, typer.Option(help="RUN/firmware (c: a folder) or RUN/frontend.cir (spice: a file) without.")
    ] = None,
    train: Annotated[str, typer.Option(help="c: what learns on the device: last, biases or all.")] = "last",
    averaging: Annotated[str, typer.Option(help="c: settle, pswa, pwalks, pswm or none.")] = "settle",
    learning_rate: Annotated[float, typer.Option(help="c: of SGD; what Settle starts from.")] = 0.01,
    ram_kib: Annotated[float | None, typer.Option(help="c: budget for state, working memory and stack.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="c: print the memory map.")] = False,
    as_json: Json = False,
) -> None:
    """C99 of features, digital stage and trainer with a program that reads a wave; or the analog stage for ngspice."""
    from lightsleeper.design import load_design  # noqa: PLC0415  torch takes seconds to import

    design = load_design(run)
    figures: dict[str, Any]
    if to == "spice":
        from lightsleeper.circuits.spice import write_netlist  # noqa: PLC0415

        file = run / "frontend.cir" if out is None else out
        write_netlist(design.frontend, file)
        figures = {"file": str(file)}
        line = f"{file}: run it with ngspice -b -r frontend.raw {file.name}"
    elif to == "c":
        from lightsleeper.design import export_c  # noqa: PLC0415
        from lightsleeper.device import Rule  # noqa: PLC0415

        if train not in TRAINABLE:
            raise InputError(f"--train is {train!r}: give last, biases or all")
        folder = run / "firmware" if out is None else out
        rule = Rule(averaging=averaging, learning_rate=learning_rate)  # type: ignore[arg-type]
        limit = None if ram_kib is None else int(ram_kib * 1024)
        plan = export_c(design, folder, rule=rule, trainable=train, ram_bytes=limit)
        figures = {
            "folder": str(folder),
            "parameters": plan.network.parameter_count,
            "trained": plan.parameters,
            "state_bytes": plan.state_bytes,
            "arena_bytes": plan.arena_bytes,
            "constant_bytes": 4 * plan.network.parameter_count,
        }
        if explain:
            figures["memory_map"] = plan.memory_map()
        line = (
            f"{folder}: {plan.parameters} of {plan.network.parameter_count} weights learn; "
            f"state {plan.state_bytes} bytes, working memory {plan.arena_bytes} bytes"
        )
    else:
        raise InputError(f"--to is {to!r}: give c or spice")
    if as_json:
        print_json(figures)
        return
    print("\n".join([*figures.get("memory_map", ()), line]))
