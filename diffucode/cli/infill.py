"""``diffucode infill``: a file with holes in, the filled file out."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from diffucode.cli.inputs import read_text
from diffucode.cli.options import (
    DECODING,
    ConfigFile,
    Json,
    TraceFile,
    Watch,
    config_of,
    flag,
    takes,
)

Path = Annotated[
    str, typer.Argument(metavar="FILE | -", help="Text with <FILL> or <FILL:tokens> holes.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Overrides of the config.")
]
SAMPLES = {"samples": flag(int, "Prompt", "Fillings of the file. (1)", "-n", "--samples")}


@takes(SAMPLES, DECODING)
def infill(
    file: Path,
    overrides: Overrides = None,
    json: Json = False,
    trace: TraceFile = None,
    watch: Watch = False,
    config: ConfigFile = None,
    *,
    flags: dict[str, Any],
) -> None:
    """Fill the <FILL> holes of a file."""
    settings = config_of(config, overrides or [], flags)
    text = read_text(file)

    from diffucode.cli.report import Report
    from diffucode.generate.infill import Holes, prepare_infill
    from diffucode.generate.model import open_model
    from diffucode.generate.stream import stream

    Holes.of(text)  # no holes: say so before a model is loaded
    with Report(as_json=json, trace=trace, watch=watch) as report:
        loaded, decoder = open_model(settings)
        jobs = prepare_infill(loaded, file, text, settings)
        report.begin(loaded, several=len(jobs) > 1)
        for frame in stream(
            loaded, report.watched(jobs), decoder=decoder, capacity=settings.batch_size
        ):
            report.add(frame)
