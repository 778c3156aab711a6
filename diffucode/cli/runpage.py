"""``diffucode runpage``: a training run as one page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The output folder of a training.")]
Out = Annotated[Path | None, typer.Option(help="Write the page into this file. (RUN_DIR/run.html)")]


def runpage(folder: Folder, out: Out = None) -> None:
    """Draw the page of a training run, which may still be going on; print where it is.

    One HTML file that loads nothing else. The training scripts write it themselves after every
    evaluation and at the end.
    """
    from diffucode.runpage.page import write_page

    typer.echo(write_page(folder, out))
