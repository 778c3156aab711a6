"""The tables of the model card, from the figures that ``mini_measure`` found: markdown between two marks.

Percent with 95 % intervals from resampled signatures, ``-`` where nothing was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from diffucode.errors import TaskError

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

Figures = dict[str, Any]
"""A model's, as ``Bench.measure`` gives them, or an estimate's JSON."""
Target = tuple[str, str, bool | None]
"""What was asked, what was reached, and whether that meets it; None: not measured."""


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
        _kinds("By band of difficulty", "bands", models),
        _kinds("By domain", "domains", models),
        _rest(models),
        _samples(models),
        _groups(models),
        _forks(models),
        _picks(result["picks"]),
    ]
    return "\n".join(part for part in parts if part)


# --- targets -----------------------------------------------------------------------------------


def targets(result: Figures) -> list[Target]:
    """Every target that was set for the bundled models, beside the reached figure."""
    named = {model["name"]: model for model in result["models"]}
    mini, matched = named.get("mini", {}), named.get("mini-ar-matched", {})
    half = at_pace(mini, mini.get("canvas", 2) // 2)
    bands = [half["bands"].get(str(band)) for band in range(1, 6)] if half else [None] * 5
    best = max(mini.get("samples", []), key=lambda row: row["pass_k"]["value"], default=None)
    found = [
        _size(half),
        _one("pass@1 at L/2 steps 50-70 %", half and half["pass"], lambda p: 0.5 <= p <= 0.7),
        _one("valid Python at L/2 steps >= 95 %", half and half["valid"], lambda p: p >= 0.95),
        _falling(bands),
        _one("pass@1 of the easiest band > 85 %", bands[0], lambda p: p > 0.85),
        _one("pass@1 of the hardest band 1-20 %", bands[4], lambda p: 0.01 <= p <= 0.2),
        _one(
            f"pass@{best['k'] if best else 64}, best single temperature, <= 90 %",
            best and best["pass_k"],
            lambda p: p <= 0.9,
        ),
    ]
    for name, model in (("mini", mini), ("mini-ar-matched", matched)):
        group = next(iter(model.get("groups", [])), None)
        found += [
            _one(f"{name}: mixed groups >= 40 %", group and group["mixed"], lambda p: p >= 0.4),
            _one(
                f"{name}: distinct programs a group >= 4",
                group and group["distinct"],
                lambda d: d >= 4,
                plain,
            ),
        ]
    forks, cost = mini.get("forks"), mini.get("cost")
    found += [
        _one(
            "entropy at forks >= 5 x the others' median",
            forks and forks["ratio"],
            lambda r: r >= 5,
            plain,
        ),
        ("rollout, one commit a step, <= 0.25 core-s", "-", None)
        if cost is None
        else (
            "rollout, one commit a step, <= 0.25 core-s",
            f"{cost['seconds']:.3f}",
            cost["seconds"] <= 0.25,
        ),
        ("all bundled files < 25 MB", f"{result['bytes'] / 1e6:.1f} MB", result["bytes"] < 25e6),
    ]
    return found


def _size(half: Figures | None) -> Target:
    text = ">= 1,000 problems over >= 700 signatures"
    if half is None:
        return text, "-", None
    met = half["scored"] >= 1000 and half["signatures"] >= 700
    return text, f"{half['scored']} over {half['signatures']}", met


def _falling(bands: Sequence[Figures | None]) -> Target:
    text = "pass@1 falls from band to band"
    values = [band["value"] for band in bands if band]
    if len(values) < len(bands):
        return text, "-", None
    shown = ", ".join(f"{100 * value:.0f}" for value in values)
    return text, shown, all(a > b for a, b in pairwise(values))


def _one(
    text: str,
    estimate: Figures | None,
    meets: Callable[[float], bool],
    shown: Callable[[Figures | None], str] | None = None,
) -> Target:
    if estimate is None:
        return text, "-", None
    return text, (shown or percent)(estimate), meets(estimate["value"])


def _targets(result: Figures) -> str:
    words = {True: "met", False: "missed", None: "not measured"}
    rows = [[text, reached, words[met]] for text, reached, met in targets(result)]
    return _table("Targets", ["target (`mini` where no model is named)", "reached", ""], rows)


# --- tables ------------------------------------------------------------------------------------


def _solved(models: Sequence[Figures]) -> str:
    rows = [
        [
            f"`{model['name']}`",
            _pace(model, row),
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
        "steps",
        "pass@1 (`plus`)",
        "valid",
        "passes `reward`",
        "of these fails `plus`",
    ]
    title = f"Temperature 0, confidence order, `test` split, seed {_seeds(models)}"
    return _table(title, [*head, "problems / signatures"], rows)


def _kinds(title: str, key: str, models: Sequence[Figures]) -> str:
    found = [(model, row) for model in models if (row := usual(model))]
    kinds = list(dict.fromkeys(kind for _, row in found for kind in row[key]))
    rows = [
        [f"`{model['name']}`", *(percent(row[key].get(kind)) for kind in kinds)]
        for model, row in found
    ]
    return _table(f"{title}: pass@1 at the usual pace", ["model", *kinds], rows)


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
    return _table("Traps and unseen operations: pass@1 at the usual pace", head, rows)


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
    return _table("Many samples, `dev` split, usual pace", head, rows)


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
        for row in model.get("groups", [])
    ]
    head = ["model", "steps", "mixed by `reward`", "mixed by `plus`", "distinct programs"]
    head += ["distinct right ones", "pass@1", "problems x samples"]
    return _table("Groups of samples, `rl` split, temperature 1", head, rows)


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
        timed = f"{cost['seconds']:.3f} ({cost['batch']} rows)" if cost else "-"
        rows.append([f"`{model['name']}`", *entropy, timed])
    head = ["model", "at forks, median nats", "other tokens, median", "ratio", "means", "forks"]
    head.append("core-s a sample")
    return _table("Raw entropy, and the cost of a rollout with one commit a step", head, rows)


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
    return _table("How the checkpoints were picked", head, rows)


# --- pieces ------------------------------------------------------------------------------------


def percent(estimate: Figures | None) -> str:
    """A share with its interval."""
    if estimate is None:
        return "-"
    return _with_bounds(estimate, 100, 1)


def plain(estimate: Figures | None) -> str:
    """A number with its interval."""
    if estimate is None:
        return "-"
    return _with_bounds(estimate, 1, 2 if abs(estimate["value"]) < 100 else 0)


def _with_bounds(estimate: Figures, scale: float, digits: int) -> str:
    value, *bounds = (estimate[key] for key in ("value", "low", "high"))
    shown = f"{scale * value:.{digits}f}"
    if None in bounds:
        return shown
    return f"{shown} [{scale * bounds[0]:.{digits}f}, {scale * bounds[1]:.{digits}f}]"


def at_pace(model: Figures, steps: int) -> Figures | None:
    """The ``test`` figures of a model at so many steps."""
    rows = [row for row in model.get("greedy", []) if row["split"] == "test"]
    return next((row for row in rows if row["steps"] == steps), None)


def usual(model: Figures) -> Figures | None:
    """The ``test`` figures at the model's usual pace."""
    return at_pace(model, model["steps"])


def _pace(model: Figures, row: Figures) -> str:
    if model["decoder"] == "ar":
        return "one token a step"
    return f"{row['steps']}{' (default)' if row['steps'] == model['steps'] else ''}"


def _seeds(models: Iterable[Figures]) -> str:
    return ", ".join(sorted({str(model["seed"]) for model in models}))


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A titled table; nothing where it has no rows."""
    if not rows:
        return ""
    lines = [f"### {title}", "", _line(head), _line(["---"] * len(head)), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
