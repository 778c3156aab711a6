"""``diffucode samples``: a model's answers to a benchmark, as EvalPlus takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from diffucode.cli.options import DECODING, PROMPT, ConfigFile, config_of, takes

Dataset = Annotated[
    str,
    typer.Option(help="humaneval, mbpp, minicode[:SPLIT[:SEED]], or a file of EvalPlus' format."),
]
Data = Annotated[
    Path | None, typer.Option(help="Folder that holds the files of humaneval and mbpp.")
]
First = Annotated[
    int | None, typer.Option(min=1, help="The first so many tasks. (all; minicode 200)")
]
Output = Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.")]
Words = Annotated[
    Literal["diffucoder", "evalplus", "plain"],
    typer.Option(
        help="Words for an instruct model: DiffuCoder's, EvalPlus', or as --prompt-style says."
    ),
]
Reader = Annotated[
    Literal["diffucode", "evalplus"],
    typer.Option(help="Who reads the program that is submitted; both are kept in the details."),
]
Traces = Annotated[bool, typer.Option("--traces", help="Keep how every canvas was filled, too.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Config overrides.")
]


@takes(PROMPT, DECODING)
def samples(
    overrides: Overrides = None,
    dataset: Dataset = "minicode",
    data: Data = None,
    first: First = None,
    output: Output = Path("runs/samples"),
    form: Words = "diffucoder",
    extractor: Reader = "diffucode",
    traces: Traces = False,
    config: ConfigFile = None,
    *,
    flags: dict[str, Any],
) -> None:
    """Answer a benchmark: samples.jsonl for EvalPlus and for diffucode score. A killed run goes on."""
    settings = config_of(config, overrides or [], flags)

    from diffucode.generate.model import open_model
    from diffucode.measure.benchmarks import benchmark
    from diffucode.measure.submission import merge, open_submission, write_samples
    from diffucode.progress import Bars

    asked = benchmark(dataset, first=first, data=data)
    submission = open_submission(
        output, asked, settings, form=form, extractor=extractor, traces=traces
    )
    loaded, _ = open_model(settings)
    with Bars() as bars:
        write_samples(submission, loaded, settings, progress=bars)
    merge(submission, loaded)
    typer.echo(str(submission.file))
