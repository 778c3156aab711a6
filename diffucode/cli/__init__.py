"""The command line. Every error raised on purpose is one line on stderr and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from diffucode.cli.arness import arness
from diffucode.cli.diversity import diversity
from diffucode.cli.doctor import doctor
from diffucode.cli.estimators import estimators
from diffucode.cli.generate import generate
from diffucode.cli.infill import infill
from diffucode.cli.infilling import infilling
from diffucode.cli.models import models
from diffucode.cli.replay import replay
from diffucode.cli.runpage import runpage
from diffucode.cli.samples import samples
from diffucode.cli.score import score
from diffucode.cli.serve import serve
from diffucode.cli.sweep import sweep
from diffucode.cli.tracepage import tracepage
from diffucode.cli.vote import vote
from diffucode.errors import DiffucodeError

BAD_INPUT, INTERRUPTED = 2, 130

app = typer.Typer(
    help="Decode masked-diffusion language models that write code.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    generate,
    infill,
    replay,
    tracepage,
    samples,
    score,
    diversity,
    infilling,
    arness,
    sweep,
    vote,
    serve,
    estimators,
    runpage,
    models,
    doctor,
):
    app.command()(command)

UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # typer shows only the subclass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, 2 for bad input, 130 for Ctrl-C."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; the exit code."""
    try:
        code = typer.main.get_command(app).main(
            list(arguments) or ["--help"], prog_name="diffucode", standalone_mode=False
        )
    except DiffucodeError as error:
        return _complain(str(error), BAD_INPUT)
    except UsageError as error:
        message: str = error.format_message()  # type: ignore[attr-defined]
        return _complain(message, BAD_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", INTERRUPTED)
    if code == INTERRUPTED:
        return _complain("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    typer.echo(f"diffucode: {' '.join(message.split())}", err=True)
    return code
