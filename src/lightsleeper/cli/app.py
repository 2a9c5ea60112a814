"""The program's commands and what they share: options, exit codes, one line for what a person can mend."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from lightsleeper.errors import InputError, LightsleeperError

__all__ = ["Json", "RunArgument", "app", "bench", "main", "run"]

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
        kept = {"bench": "finished runs are kept", "yield": "finished chips are kept"}.get(
            arguments[0], "nothing was written"
        )
        return _fail(f"interrupted; {kept}", code)
    return int(code or 0)


def _fail(message: str, code: int) -> int:
    print(f"lightsleeper: {' '.join(message.split())}", file=sys.stderr)
    return code
