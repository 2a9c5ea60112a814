"""Whether a design's simulated circuit is true."""

from pathlib import Path
from typing import Annotated

import typer

from lightsleeper.cli.app import Json, RunArgument, app
from lightsleeper.cli.output import print_json, print_tables, progress_bar
from lightsleeper.errors import VerificationError

__all__ = ["verify"]


@app.command(epilog="Example: lightsleeper verify glass --recording breaking_glass.wav")
def verify(
    run: RunArgument,
    recording: Annotated[Path | None, typer.Option(help="Sound; one of the design's own without.")] = None,
    as_json: Json = False,
) -> None:
    """Hold the simulator against ngspice, block by block and whole; exit code 1 where a limit is missed."""
    from lightsleeper.design import load_design, verify_design  # noqa: PLC0415  torch takes seconds to import
    from lightsleeper.report import VERIFICATION_HEADING, verification_lines, write_verification  # noqa: PLC0415

    design = load_design(run)
    with progress_bar() as progress:
        found = verify_design(design, recording, progress=progress)
    page = run / "verification.html"
    write_verification(page, found)
    if as_json:
        print_json(found.to_dict())
    else:
        title = f"{found.conditions['recording']}, simulator against {found.engine}"
        print_tables(VERIFICATION_HEADING, [(title, verification_lines(found))])
        print(f"\nOpen {page}")
    failed = sum(not row.passed for row in found.rows)
    if failed:
        raise VerificationError(f"{failed} of {len(found.rows)} rows miss their limit; see {page}")
