"""The tables of a study, as markdown, from the rows that there are; what is missing is said."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

from diffucode.measure.card import table
from diffucode.measure.figures import percent, plain
from diffucode.metrics.crossed import Crossed
from diffucode.metrics.gains import FAILURE
from diffucode.studies import figures
from diffucode.studies.figures import Found
from diffucode.studies.jobs import grid_means
from diffucode.studies.plan import Arm, Job, Study, Voting, grid_jobs, jobs
from diffucode.studies.rows import Row


def report(study: Study, rows: Sequence[Row], grid: Sequence[Row]) -> str:
    """All tables; those without rows are left out."""
    found = Found.of(study, rows)
    parts = [
        _missing(study, rows, grid),
        _compared(found),
        _arms(found),
        _measures(found),
        _steps(found),
        _gains(found),
        _written(found),
        _votes(found),
        _grid(study, grid),
    ]
    return "\n".join(part for part in parts if part)


def _missing(study: Study, rows: Sequence[Row], grid: Sequence[Row]) -> str:
    done = {(row.arm, row.seed, row.point) for row in [*rows, *grid]}
    lines = []
    for name, asked in (("jobs", jobs(study)), ("of the choices", grid_jobs(study))):
        left = [job for job in asked if (job.arm.name, job.seed, job.point) not in done]
        if asked:
            lines.append(
                f"{len(asked) - len(left)} of {len(asked)} {name} are finished.{_named(left)}"
            )
    return " ".join(lines) + "\n"


def _named(left: Sequence[Job]) -> str:
    seeds: dict[str, list[str]] = {}
    for job in left:
        seeds.setdefault(job.arm.name, []).append(job.name.partition("-")[2])
    named = "; ".join(f"`{name}` {', '.join(which)}" for name, which in seeds.items())
    return f" Missing: {named}." if named else ""


def _compared(found: Found) -> str:
    rows = []
    for one in found.comparisons():
        name, seen = f"`{one.arm}` minus `{one.against}`", one.found
        if seen is None:
            rows.append([name, *["-"] * 6])
            continue
        rows.append(
            [
                name,
                _percent(seen),
                f"{seen.p:.3f}",
                f"{one.adjusted:.3f}",
                "-" if math.isnan(seen.error) else f"{100 * seen.detectable:.1f}",
                f"{len(found.rows[one.arm])} / {len(found.rows[one.against])}",
                one.decision,
            ]
        )
    head = ["comparison", "points", "p", "p (Holm)", "smallest detectable", "runs", ""]
    return table(f"Primary comparisons: pass@1 on `plus`, {found.study.pace} pace", head, rows)


def _arms(found: Found) -> str:
    rows = []
    for arm in found.study.arms:
        own = found.rows.get(arm.name, ())
        if not own:
            continue
        costs = [row.cost for row in own if row.cost]
        planned = 1 if arm.role == "base" else len(found.study.seeds[arm.role])
        over = None
        if arm.base is not None and not isinstance(arm.how, Voting):
            over = found.against(arm.name, arm.base, figures.passed("usual"))
        rows.append(
            [
                f"`{arm.name}`",
                arm.role,
                f"{len(own)} of {planned}",
                str(sum(map(found.collapsed, own))),
                *(
                    f"{fmean(cost[name] for cost in costs) / scale:.{digits}f}" if costs else "-"
                    for name, scale, digits in (("rollouts", 1, 0), ("positions", 1e6, 1))
                ),
                f"{fmean(row.seconds for row in own) / 60:.0f}",
                _percent(over),
                arm.text,
            ]
        )
    head = [
        "arm",
        "role",
        "runs",
        "collapsed",
        "rollouts",
        "forward positions, millions",
        "minutes",
    ]
    return table("Arms", [*head, "pass@1 minus its base's, usual pace", ""], rows)


def _measures(found: Found) -> str:
    values: dict[str, figures.Value] = {
        f"pass@1, {pace}": figures.passed(pace) for pace in found.study.paces
    }
    values |= {
        "valid, usual": figures.rate("usual", "valid"),
        "ended, usual": figures.rate("usual", "ended"),
        "pass@1, temperature 1": figures.rate("usual", "plus", tau=1.0),
        f"pass@{found.study.evaluation.samples}, temperature 1": figures.pass_many,
        "distinct programs": figures.plain("usual", "distinct", tau=1.0),
    }
    rows = [
        [
            f"`{arm.name}`",
            *(
                _cell(
                    plain if name.startswith("distinct") else percent, found.share(arm.name, value)
                )
                for name, value in values.items()
            ),
        ]
        for arm in _measured(found)
    ]
    return table("What the arms reach, on `test`", ["arm", *values], rows)


def _steps(found: Found) -> str:
    rows = []
    for arm in _measured(found):
        points = found.drop(arm.name, relative=False)
        if points is not None:
            rows.append(
                [f"`{arm.name}`", _percent(points), _percent(found.drop(arm.name, relative=True))]
            )
    return table("What half of the steps cost: L against L/2", ["arm", "points", "% of L"], rows)


def _gains(found: Found) -> str:
    rows = []
    for arm in _measured(found):
        if arm.role == "base":
            continue
        for pace in found.study.paces:
            parts = found.gains(arm, pace)
            if any(part is None for part in parts.values()):
                continue
            whole = found.against(arm.name, found.study.base_of(arm).name, figures.passed(pace))
            cells = [f"`{arm.name}`", pace, _percent(whole)]
            for kind, part in parts.items():
                gained, lost = found.moves(arm, pace, kind)
                cells.append(f"{_percent(part)} (+{100 * gained:.1f} -{100 * lost:.1f})")
            rows.append(cells)
    head = ["arm", "pace", "pass@1 minus its base's", *FAILURE]
    return table("What a gain consists of, points (became right, was right before)", head, rows)


def _written(found: Found) -> str:
    """Order is compared at one temperature and one schedule: one position a step."""
    rows = []
    for arm in _measured(found):
        local, leftmost = (
            found.share(arm.name, figures.plain("L", name)) for name in ("local", "leftmost")
        )
        if local is not None:
            rows.append([f"`{arm.name}`", _percent(local), _percent(leftmost)])
    head = ["arm", "local@1", "global@1"]
    return table("AR-ness up to the terminator: L steps, temperature 0, %", head, rows)


def _votes(found: Found) -> str:
    rows = []
    for arm in found.study.arms:
        if not isinstance(arm.how, Voting) or arm.name not in found.rows:
            continue
        equal = {found.equal_cost(one.arm, arm.name): one.arm for one in found.study.comparisons}
        equal.pop(None, None)
        sizes = {vote.samples: vote for vote in found.votes(arm.name)}
        sizes |= {k: vote for k in equal if k and (vote := found.vote(arm.name, k))}
        for k in sorted(sizes):
            note = f"as much as training `{equal[k]}`" if k in equal else ""
            if k in equal and k == arm.how.samples:
                note += ", or less: there are no more samples"
            vote = sizes[k]
            cells = [str(k), f"{vote.positions / 1e6:.1f}", _percent(vote.found), note]
            rows.append([f"`{arm.name}`", *cells])
    head = ["arm", "samples", "forward positions, millions", "pass@1", "cost"]
    return table("Majority vote of the base, by behaviour on inputs of no test", head, rows)


def _grid(study: Study, grid: Sequence[Row]) -> str:
    if study.choices is None:
        return ""
    rows = []
    for name in study.choices.arms:
        means = grid_means(study, grid, name)
        best = max(means, key=lambda point: (means[point], -point), default=None)
        for point, value in means.items():
            seeds = sum(row.arm == name and row.point == point for row in grid)
            overrides = ", ".join(study.choices.grid[point])
            mark = "best" if point == best else ""
            rows.append([f"`{name}`", overrides, f"{100 * value:.1f}", str(seeds), mark])
    head = ["arm", "settings", "pass@1", "runs", ""]
    return table("Choices, on `dev` at the usual pace", head, rows)


# --- pieces ------------------------------------------------------------------------------------


def _measured(found: Found) -> list[Arm]:
    """The arms with rows that have a model."""
    return [
        arm
        for arm in found.study.arms
        if arm.name in found.rows and not isinstance(arm.how, Voting)
    ]


def _percent(estimate: Crossed | None) -> str:
    return _cell(percent, estimate)


def _cell(
    shown: Callable[[dict[str, float | int | None] | None], str], estimate: Crossed | None
) -> str:
    return shown(None if estimate is None else estimate.estimate.to_json())
