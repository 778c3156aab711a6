"""``diffucode infilling``: how well models fill holes."""

from __future__ import annotations

import dataclasses
import json as jsonlib
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffucode.cli.options import DECODING, ConfigFile, Json, config_of, takes
from diffucode.errors import ConfigError, TaskError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffucode.measure.infill_tasks import Gapped
    from diffucode.measure.infilling import Filled, Score

MINICODE = "minicode"
ROWS = 100
LOOKED_AT = 20
"""Problems of minicode that are looked at for each row."""
LEFT_OUT = ("model", "revision", "decoder", "max_new_tokens")
OPTIONS = {name: option for name, option in DECODING.items() if name not in LEFT_OUT}

Source = Annotated[
    str,
    typer.Argument(
        metavar="minicode | NAME | FILE",
        help="Lines taken out of minicode, humaneval-infilling[:random-span], or a file of such rows.",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="A bundled name, folder, or hub id; repeatable. (mini)",
        rich_help_panel="Model",
    ),
]
Count = Annotated[int, typer.Option("-n", "--rows", min=1, help="Rows, drawn by --seed.")]
HoleCount = Annotated[int, typer.Option("--holes", min=1, help="Holes of a minicode problem.")]
Split = Annotated[str, typer.Option("--split", help="Of minicode.")]
Ways = Annotated[
    list[str] | None, typer.Option("--way", help="known, unknown or rest; repeatable. (all)")
]
Data = Annotated[Path | None, typer.Option(help="Folder that holds the files of NAME.")]
Fillings = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Write every filled program here (JSONL).", rich_help_panel="Output"
    ),
]


@takes(OPTIONS)
def infilling(
    source: Source,
    model: Models = None,
    rows: Count = ROWS,
    holes: HoleCount = 2,
    split: Split = "test",
    way: Ways = None,
    data: Data = None,
    json: Json = False,
    out: Fillings = None,
    config: ConfigFile = None,
    *,
    flags: dict[str, Any],
) -> None:
    """Measure infilling: exact match and pass@1, with known and unknown lengths of holes.

    known: holes as long as what stood there; unknown: the likeliest of several lengths; rest: all from
    the first hole on written anew. AR models see what is to the left. docs/infilling.md has more.
    """
    settings = config_of(config, [], flags)
    names = model or [settings.model]

    from diffucode.execution.sandbox import Sandbox
    from diffucode.files import to_jsonl, write_atomic
    from diffucode.generate.model import open_model
    from diffucode.measure.infilling import WAYS, fill, fitting, score, sound
    from diffucode.progress import Bars

    if unknown := sorted(set(way or ()) - set(WAYS)):
        raise ConfigError(f"--way {unknown[0]!r}: expected one of {', '.join(WAYS)}")
    asked = [one for one in WAYS if one in (way or WAYS)]
    every = tasks(source, rows, holes, split, settings.seed, data)
    opened = [open_model(dataclasses.replace(settings, model=name))[0] for name in names]
    fit = [{row.id for row in fitting(one, every)} for one in opened]
    scores: list[Score] = []
    lines: list[dict[str, Any]] = []
    with Sandbox() as sandbox, Bars(watched=True) as bars:
        kept = sound(sandbox, [row for row in every if all(row.id in ids for ids in fit)])
        if not kept:
            raise TaskError(f"{source}: none of its {len(every)} rows fits {', '.join(names)}")
        for loaded, one in product(opened, asked):
            bars("models and ways", len(scores), len(opened) * len(asked))
            filled = fill(loaded, kept, one, settings)
            scores.append(score(sandbox, loaded.name, one, kept, filled, settings.seed))
            lines += [_line(loaded.name, one, row, f) for row, f in zip(kept, filled, strict=True)]
        bars("models and ways", len(scores), len(scores))
    if out is not None:
        write_atomic(out, to_jsonl(lines))
    if json:
        for found in scores:
            left_out = {"source": source, "left_out": len(every) - len(kept)}
            typer.echo(jsonlib.dumps(left_out | found.to_json()))
    else:
        show(source, len(every), kept, scores)


def tasks(
    source: str, n: int, holes: int, split: str, seed: int, data: Path | None = None
) -> list[Gapped]:
    """The rows of a source; ``data`` is a folder to look for a file's name in."""
    from diffucode.measure.benchmarks import INFILLING, find
    from diffucode.measure.infill_tasks import chosen, cut, read
    from diffucode.measure.problems import made
    from diffucode.tasks import minicode

    if source != MINICODE:
        return chosen(read(find(source, data) if source in INFILLING else source), n, seed)
    found: list[Gapped] = []
    for start in range(0, LOOKED_AT * n, n):
        for problem in minicode.problems(split, seed, n, start):
            if len(found) < n and len(problem.reference.splitlines()) >= 2 * holes - 1:
                row = cut(made(problem.id), holes, seed)
                assert row is not None, "it has enough lines"
                found.append(row)
        if len(found) == n:
            return found
    raise TaskError(
        f"minicode, {split}: {len(found)} of {LOOKED_AT * n} problems have the {2 * holes - 1} lines "
        f"that --holes {holes} takes, {n} were asked for; ask for fewer holes or rows"
    )


def _line(model: str, way: str, row: Gapped, filled: Filled) -> dict[str, Any]:
    fills = None if filled.fills is None else list(filled.fills)
    return {
        "task_id": row.id,
        "model": model,
        "way": way,
        "fills": fills,
        "solution": filled.program,
    }


def show(source: str, drawn: int, rows: Sequence[Gapped], scores: Sequence[Score]) -> None:
    """What was asked, and a line for each model and way."""
    from diffucode.cli.table import percent, print_table

    holes = sum(len(row.answers) for row in rows)
    clusters = len({row.cluster for row in rows})
    typer.echo(
        f"{Path(source).name}: {len(rows)} rows with {holes} holes, of {clusters} problems; "
        f"{drawn - len(rows)} more do not fit a model, or their own program fails. In percent.\n"
    )
    print_table(
        ("model", "hole lengths", "exact match", "pass@1", "not run"),
        [[s.model, s.way, percent(s.exact), percent(s.passed), str(s.failed)] for s in scores],
    )
