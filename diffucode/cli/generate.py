"""``diffucode generate``: prompts in, completions out as they finish."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from diffucode.cli.inputs import prompts_of
from diffucode.cli.options import (
    DECODING,
    PROMPT,
    ConfigFile,
    Json,
    PromptFile,
    PromptsFile,
    TraceFile,
    Watch,
    config_of,
    takes,
)
from diffucode.errors import PromptError

Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PROMPT KEY=VALUE",
        help="The prompt (- reads it from stdin) unless an option names it; then config overrides.",
    ),
]


@takes(PROMPT, DECODING)
def generate(
    arguments: Arguments = None,
    file: PromptFile = None,
    prompts: PromptsFile = None,
    json: Json = False,
    trace: TraceFile = None,
    watch: Watch = False,
    config: ConfigFile = None,
    *,
    flags: dict[str, Any],
) -> None:
    """Write code: prompts in, completions out."""
    given = list(arguments or [])
    prompt = given.pop(0) if given and file is None and prompts is None else None
    settings = config_of(config, given, flags)
    asked = prompts_of(prompt, file, prompts)

    from diffucode.cli.report import Report
    from diffucode.generate.model import open_model
    from diffucode.generate.prompted import prepare
    from diffucode.generate.stream import stream

    with Report(as_json=json, trace=trace, watch=watch) as report:
        loaded, decoder = open_model(settings)
        prepared = prepare(loaded, asked, settings)
        report.begin(loaded, several=len(prepared) > 1)
        for refusal in prepared.refused:
            report.note(f"refused {refusal.id!r}: {refusal.reason}")
        jobs = report.watched(prepared.jobs())
        for frame in stream(loaded, jobs, decoder=decoder, capacity=settings.batch_size):
            report.add(frame)
    if prepared.refused:
        raise PromptError(f"{len(prepared.refused)} of {len(asked)} prompts refused, 0 cut")
