"""``diffucode vote``: one program for each task, by what samples across temperatures do."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffucode.cli.options import Json
from diffucode.errors import ConfigError

if TYPE_CHECKING:
    from diffucode.measure.polls import Poll
    from diffucode.metrics.voting import Rule

Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="SAMPLES.jsonl", help="Files of samples; none: draw them from --model."),
]
Out = Annotated[
    Path | None, typer.Option(help="Write the chosen programs into this file, as samples.")
]
Model = Annotated[str, typer.Option(help="Draw from this model, round by round.")]
Temperatures = Annotated[
    list[float] | None,
    typer.Option("--temperature", help="A token temperature; repeatable. (0.4 0.7 1 1.3)"),
]
Order = Annotated[
    float, typer.Option("--order-temperature", help="Of a diffusion model, in all cells.")
]
Samples = Annotated[int, typer.Option("-n", "--samples", min=1, help="Of each cell at most.")]
Problems = Annotated[
    int, typer.Option("--problems", min=1, help="How many of minicode's are asked.")
]
Split = Annotated[str, typer.Option(help="Of minicode: dev, test, rl or ood.")]
Seed = Annotated[int, typer.Option(help="Of the problems and the samples.")]
Folder = Annotated[Path, typer.Option(help="Keeps problems, tests and what was drawn.")]
Round = Annotated[int, typer.Option("--round", help="Samples a cell draws between two votes.")]
Least = Annotated[int, typer.Option(help="Samples of a cell before the first vote.")]
Inside = Annotated[
    float, typer.Option(help="Share of a cell's top answer that makes it confident.")
]
Across = Annotated[float, typer.Option(help="Share of cells that agree where a vote ends early.")]


def vote(
    files: Files = None,
    out: Out = None,
    model: Model = "mini",
    temperature: Temperatures = None,
    order_temperature: Order = 0.0,
    samples: Samples = 16,
    problems: Problems = 50,
    split: Split = "test",
    seed: Seed = 1,
    folder: Folder = Path("runs/vote"),
    round: Round = 4,
    least: Least = 8,
    inside: Inside = 0.8,
    across: Across = 1.0,
    json: Json = False,
) -> None:
    """Vote across temperatures, with early exit, by outputs on inputs of no test.

    Of files all samples are there: early exit is counted as if they had been drawn in their order, beside
    the majority over everything. Of a model only what the rule asks for is drawn.
    """
    from diffucode.metrics.voting import Rule

    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"--out {out}: expected a file in a folder that exists")
    rule = Rule(round, least, inside, across)
    if files:
        found, chosen = _of_files(files, folder, rule)
    else:
        plan = {
            "models": [model],
            "temperatures": temperature or [0.4, 0.7, 1.0, 1.3],
            "order_temperatures": [order_temperature],
            "split": split,
            "problem_seed": seed,
            "problems": problems,
            "samples": samples,
            "seed": seed,
            "k": 1,
        }
        found, chosen = _of_model(plan, folder, rule)
    if out is not None:
        from diffucode.files import to_jsonl, write_atomic

        rows = [{"task_id": id, "solution": program} for id, program in chosen.items()]
        write_atomic(out, to_jsonl(rows))
    if json:
        typer.echo(jsonlib.dumps(found))
    else:
        typer.echo("\n".join(f"{name:32} {_shown(name, value)}" for name, value in found.items()))


def _of_files(files: list[Path], folder: Path, rule: Rule) -> tuple[dict[str, Any], dict[str, str]]:
    from diffucode.execution.sandbox import Sandbox
    from diffucode.measure.polls import from_files
    from diffucode.measure.problems import Problems
    from diffucode.metrics.voting import elect, tally
    from diffucode.progress import Bars

    with Sandbox(tier="strongest") as sandbox, Bars(watched=True) as bars:
        pools, polls = from_files(files, Problems(folder, bars), sandbox)
    counted = tally([poll.ballot for poll in polls], rule)
    tasks = counted.problems
    found = {
        "tasks": tasks,
        "pools": [list(pool) for pool in pools],
        "accuracy": counted.right / tasks,
        "accuracy of the full vote": counted.right_full / tasks,
        "early exits": counted.exits,
        "false exits": counted.false_exits,
        "false exits, full vote right": counted.lost,
        "compute saved": counted.saved,
    }
    return found, _chosen(polls, [elect(poll.labels, rule) for poll in polls])


def _of_model(
    plan: dict[str, Any], folder: Path, rule: Rule
) -> tuple[dict[str, Any], dict[str, str]]:
    import torch

    from diffucode import config
    from diffucode.execution.sandbox import Sandbox
    from diffucode.measure.polls import live
    from diffucode.measure.sweep.grid import Grid
    from diffucode.measure.sweep.plan import Sweep
    from diffucode.progress import Bars

    sweep = config.load(
        Sweep, None, [f"{key}={jsonlib.dumps(value)}" for key, value in plan.items()]
    )
    torch.set_num_threads(1)
    with Sandbox(tier="strongest") as sandbox, Bars(watched=True) as bars:
        counted = live(Grid(sweep, folder, folder, bars), sweep.models[0], rule, sandbox)
    right = [
        one.winner is not None and poll.right[one.winner.cell][one.winner.sample]
        for poll, one in zip(counted.polls, counted.elections, strict=True)
    ]
    exits = [one.easy for one in counted.elections]
    found = {
        "tasks": len(right),
        "pools": [[cell.temperature, cell.order_temperature] for cell in counted.cells],
        "accuracy": sum(right) / len(right),
        "early exits": sum(exits),
        "false exits": sum(easy and not hit for easy, hit in zip(exits, right, strict=True)),
        "samples": counted.drawn,
        "samples without early exit": counted.full,
        "compute saved": 1 - counted.used / counted.whole,
    }
    return found, _chosen(counted.polls, counted.elections)


def _chosen(polls: list[Poll], elections: list[Any]) -> dict[str, str]:
    return {poll.id: poll.chosen(one) for poll, one in zip(polls, elections, strict=True)}


def _shown(name: str, value: Any) -> str:
    if name == "pools":
        return ", ".join(" / ".join("-" if t is None else f"{t}" for t in pool) for pool in value)
    return f"{100 * value:.1f} %" if isinstance(value, float) else str(value)
