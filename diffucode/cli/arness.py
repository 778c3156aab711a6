"""``diffucode arness``: in which order a model writes."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffucode.cli.inputs import read_text
from diffucode.cli.options import Json
from diffucode.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffucode.measure.orders import Orders, Part

Files = Annotated[list[Path], typer.Argument(metavar="TRACES...", help="Files that --trace wrote.")]
First = Annotated[
    bool,
    typer.Option(
        "--first-step", help="Also ask the traces' models how sure they are of an open canvas."
    ),
]
Seed = Annotated[int, typer.Option(help="Of the resampling behind the intervals.")]
Plot = Annotated[Path | None, typer.Option(help="Draw curves and heat maps into this folder.")]

SHOWN = {"local": (1, 2, 4, 8), "local as a set": (2, 4, 8), "global": (1, 2, 4)}
"""The k of the table; --json has all."""


def arness(
    files: Files, first_step: First = False, seed: Seed = 0, json: Json = False, plot: Plot = None
) -> None:
    """How near the order of decoding comes to reading from left to right; how alike samples are written.

    Local AR-ness@k: written right behind the run of their k left neighbours. Global AR-ness@k: among
    the k leftmost open positions when written. From left to right gives 1. Intervals are over prompts.
    """
    if plot is not None and plot.exists() and not plot.is_dir():
        raise ConfigError(f"--plot {plot}: expected a folder, this is a file")

    from diffucode.generate.traces import TraceFile
    from diffucode.measure.orders import orders

    recorded = [TraceFile.loads(read_text(str(file)), str(file)) for file in files]
    names = _names(files)
    found = [orders(name, one, seed) for name, one in zip(names, recorded, strict=True)]
    profiles = []
    if first_step:
        from diffucode.generate.model import open_model
        from diffucode.generate.settings import GenerateConfig
        from diffucode.measure.first_step import first_steps

        for name, one in zip(names, recorded, strict=True):
            loaded, _ = open_model(GenerateConfig(model=one.model))
            profiles.append(first_steps(loaded, one, name)[0])
    if json:
        for number, figures in enumerate(found):
            row = figures.to_json()
            if profiles:
                profile = profiles[number]
                row["first_step"] = {
                    "confidence": profile.confidence_PN.mean(0).tolist(),
                    "entropy": profile.entropy_PN.mean(0).tolist(),
                }
            typer.echo(jsonlib.dumps(row))
    else:
        show(found)
        for name, profile in zip(names, profiles, strict=False):
            near, far = profile.confidence_PN[:, 0].mean(), profile.confidence_PN[:, -1].mean()
            typer.echo(
                f"\n{name}: of an open canvas, a mean probability of {near:.2f} at its first position "
                f"and {far:.2f} at its last, the {profile.confidence_PN.shape[1]}th"
            )
    if plot is not None:
        from diffucode.cli.arness_plot import draw

        for path in draw(found, profiles, plot):
            typer.echo(f"diffucode: {path}", err=True)


def _names(files: Sequence[Path]) -> list[str]:
    """File names where they tell the files apart, or else their paths."""
    short = [file.name for file in files]
    return short if len(set(short)) == len(short) else [str(file) for file in files]


def show(found: Sequence[Orders]) -> None:
    """A paragraph and a table for each file, then what all of them agree on."""
    from diffucode.cli.table import figure, print_table

    for one in found:
        answer, canvas = one.parts["answer"], one.parts["canvas"]
        typer.echo(
            f"{one.name} (`{one.model}`): {one.samples} samples of {one.prompts} prompts, "
            f"{answer.count} positions of answers, {canvas.count} of canvases.\n"
        )
        if not one.ends_known:
            typer.echo("The file names no terminators: answers are taken as whole canvases.\n")
        print_table(
            ("AR-ness", "answer", "steps permuted", "random order", "whole canvas"),
            [*_rows(one)],
        )
        typer.echo()
    typer.echo("Orders of answers, sample against sample:\n")
    print_table(
        ("traces", "tau, same prompt", "other prompt", "overlap, same prompt", "other prompt"),
        [
            [
                one.name,
                *(figure(x) for name in ("tau", "overlap") for x in one.agreement[name]),
            ]
            for one in found
        ],
    )


def _rows(one: Orders) -> list[list[str]]:
    from diffucode.cli.table import figure, percent

    answer, canvas = one.parts["answer"], one.parts["canvas"]
    rows = [
        [
            f"{a.kind} @{a.k}",
            figure(a.sorted),
            figure(a.expected),
            f"{a.random:.3f}",
            figure(c.sorted),
        ]
        for a, c in zip(answer.points, canvas.points, strict=True)
        if a.k in SHOWN[a.kind]
    ]
    parts: tuple[Part, ...] = ("answer", "canvas")
    for title, name in (("in steps of several, %", "parallel"), ("tied neighbours, %", "tied")):
        inside, whole = (percent(getattr(one.parts[part], name)) for part in parts)
        rows.append([title, inside, "", "", whole])
    return rows
