"""The tables of docs/models.md, from the figures of ``Bench.measure``: markdown between two marks.

Percent with 95 % intervals from resampled signatures, ``-`` where nothing was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from diffucode.errors import TaskError
from diffucode.measure.figures import percent, plain, predicted, usual
from diffucode.measure.targets import targets
from diffucode.metrics.outcomes import Figures

FRESH = (200, 500, 1000)
"""Sizes of a fresh set of problems."""
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def put(text: str, tables: str) -> str:
    """The card with the tables between its marks. Raises TaskError where the marks are missing."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise TaskError(f"the card needs one {BEGIN} and, after it, one {END}")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables}\n{END}{rest.partition(END)[2]}"


def card(result: Figures) -> str:
    """All tables of a measurement."""
    models: list[Figures] = result["models"]
    parts = [
        _targets(result),
        _solved(models),
        _fresh(models),
        _kinds("By band of difficulty", "bands", models),
        _kinds("By domain", "domains", models),
        _rest(models),
        _samples(models),
        _groups(models),
        _forks(models),
        _picks(result["picks"]),
    ]
    return "\n".join(part for part in parts if part)


# --- tables ------------------------------------------------------------------------------------


def _targets(result: Figures) -> str:
    words = {True: "met", False: "missed", None: "not measured"}
    rows = [[text, reached, words[met]] for text, reached, met in targets(result)]
    return table("Targets", ["target (`mini` where no model is named)", "reached", ""], rows)


def _solved(models: Sequence[Figures]) -> str:
    rows = [
        [
            f"`{model['name']}`",
            _pace(model, row),
            f"{row['passes']:.1f}",
            percent(row["pass"]),
            percent(row["valid"]),
            percent(row["reward"]),
            percent(row["hollow"]),
            f"{row['scored']} / {row['signatures']}",
        ]
        for model in models
        for row in model.get("greedy", [])
        if row["split"] == "test"
    ]
    head = [
        "model",
        "pace",
        "passes",
        "pass@1 (`plus`)",
        "valid",
        "passes `reward`",
        "of these fails `plus`",
    ]
    title = f"Temperature 0, confidence order, `test` split, problems of seeds {_seeds(models)}"
    return table(title, [*head, "problems / signatures"], rows)


def _fresh(models: Sequence[Figures]) -> str:
    rows = [
        [f"`{model['name']}`", *(_between(predicted(row["pass"], row["scored"], n)) for n in FRESH)]
        for model in models
        if (row := usual(model))
    ]
    title = "Where pass@1 on fresh problems falls, 19 times out of 20, at the usual pace"
    return table(title, ["model", *(f"{n} problems" for n in FRESH)], rows)


def _kinds(title: str, key: str, models: Sequence[Figures]) -> str:
    found = [(model, row) for model in models if (row := usual(model))]
    kinds = list(dict.fromkeys(kind for _, row in found for kind in row[key]))
    rows = [
        [f"`{model['name']}`", *(percent(row[key].get(kind)) for kind in kinds)]
        for model, row in found
    ]
    return table(f"{title}: pass@1 at the usual pace", ["model", *kinds], rows)


def _rest(models: Sequence[Figures]) -> str:
    rows = []
    for model in models:
        row = usual(model)
        if row is None:
            continue
        ood = next((r for r in model["greedy"] if r["split"] == "ood"), None)
        rows.append(
            [
                f"`{model['name']}`",
                percent(row["traps"]),
                percent(row["others"]),
                percent(ood and ood["pass"]),
                percent(ood and ood["valid"]),
            ]
        )
    head = ["model", "traps", "no traps", "unseen operations", "of these valid"]
    return table("Traps and unseen operations: pass@1 at the usual pace", head, rows)


def _samples(models: Sequence[Figures]) -> str:
    rows = [
        [
            f"`{model['name']}`",
            f"{row['temperature']:g}",
            percent(row["pass"]),
            f"{percent(row['pass_k'])} (k = {row['k']}, n = {row['samples']})",
            percent(row["valid"]),
            plain(row["distinct"]),
            str(row["scored"]),
        ]
        for model in models
        for row in model.get("samples", [])
    ]
    head = ["model", "temperature", "pass@1", "pass@k", "valid", "distinct programs", "problems"]
    return table("Many samples, `dev` split, usual pace", head, rows)


def _groups(models: Sequence[Figures]) -> str:
    rows = [
        [
            f"`{model['name']}`",
            _pace(model, row),
            percent(row["mixed"]),
            percent(row["mixed_plus"]),
            plain(row["distinct"]),
            plain(row["distinct_right"]),
            percent(row["pass"]),
            f"{row['scored']} x {row['samples']}",
        ]
        for model in models
        if (row := model.get("groups"))
    ]
    head = ["model", "pace", "mixed by `reward`", "mixed by `plus`", "distinct programs"]
    head += ["distinct right ones", "pass@1", "problems x samples"]
    return table("Groups of samples, `rl` split, temperature 1", head, rows)


def _forks(models: Sequence[Figures]) -> str:
    rows = []
    for model in models:
        forks, cost = model.get("forks"), model.get("cost")
        if not (forks or cost):
            continue
        entropy = ["-"] * 5
        if forks and forks["forks"]:
            entropy = [
                f"{forks['fork_median']:.3g}",
                f"{forks['other_median']:.3g}",
                plain(forks["ratio"]),
                f"{forks['fork_mean']:.3g} / {forks['other_mean']:.3g}",
                str(forks["forks"]),
            ]
        timed = (
            f"{cost['seconds']:.3f}, {cost['apart']:.3f} ({cost['batch']} rows)" if cost else "-"
        )
        rows.append([f"`{model['name']}`", *entropy, timed])
    head = ["model", "at forks, median nats", "other tokens, median", "ratio", "means", "forks"]
    head.append("core-s a sample, in groups and apart")
    return table("Raw entropy, and the cost of a rollout with one commit a step", head, rows)


def _picks(picks: Figures) -> str:
    rows = [
        [
            f"`{name}`",
            row["from"],
            f"{100 * row['dev_passed']:.1f}",
            f"{100 * row['aim']:.1f}",
            str(row["problems"]),
        ]
        for name, row in picks.items()
    ]
    head = ["model", "checkpoint", "pass@1 on `dev`", "aim", "problems"]
    return table("How the checkpoints were picked", head, rows)


# --- pieces ------------------------------------------------------------------------------------


def _pace(model: Figures, row: Figures) -> str:
    if model["decoder"] == "ar":
        return "one token a step"
    schedule, steps, block = row["pace"]
    even = f"{steps} steps" if schedule == "quota" else schedule.replace(":", " ")
    default = " (default)" if row["pace"] == model["pace"] else ""
    return f"{even}, {f'blocks of {block}' if block else 'one block'}{default}"


def _between(bounds: tuple[float, float] | None) -> str:
    return "-" if bounds is None else f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}"


def _seeds(models: Iterable[Figures]) -> str:
    return ", ".join(map(str, sorted({seed for model in models for seed in model["seeds"]})))


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A titled table; nothing where it has no rows."""
    if not rows:
        return ""
    lines = [f"### {title}", "", _line(head), _line(["---"] * len(head)), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
