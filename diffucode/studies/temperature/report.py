"""The tables of the temperature study, as markdown, from the samples there are; what is missing is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from diffucode.measure.card import table
from diffucode.measure.figures import percent, plain
from diffucode.measure.sweep.figures import SHARES, Values, common, figures
from diffucode.measure.sweep.matched import COMPARED, Matched, at_equal_pass, at_equal_temperature
from diffucode.measure.sweep.page import named, row, shown, titles
from diffucode.measure.sweep.plan import Cell
from diffucode.metrics.passk import Estimate
from diffucode.studies.temperature.figures import AXES, Axis, Found, found_of
from diffucode.studies.temperature.plan import STAGES, chosen
from diffucode.studies.temperature.stages import Workshop

AXIS: dict[Axis, str] = {"token": "token T", "order": "order T", "both": "token and order T"}


class Drawn(NamedTuple):
    """What there is to report."""

    dev: list[Values]
    test: list[Values]
    found: list[Found]
    """The models that have cells on ``test`` and a choice on ``dev``."""


def drawn(shop: Workshop) -> Drawn:
    """The cells, and each model's best by ``dev``. Cells that are not drawn to their end leave fewer
    problems that all have."""
    study = shop.study
    dev, test = shop.values("choices"), shop.values("test")
    if not any(one.samples for one in test) or not any(one.samples for one in dev):
        return Drawn(dev, test, [])
    deep = [] if shop.left("choices") else shop.values("deep")
    models = {one.drawn.cell.model for one in test}
    found = [
        found_of(test, deep, picked[study.deep.by[0]], study.seed, study.vote)
        for model, picked in chosen(study, dev).items()
        if model in models
    ]
    return Drawn(dev, test, found)


def report(shop: Workshop, have: Drawn) -> str:
    """All tables; those without rows are left out."""
    k = shop.study.k
    parts = [_missing(shop)]
    if have.found:
        parts += [
            _claims(have, k),
            _choices(shop, have),
            _cells(shop, have),
            _budgets(have),
            _solved(have),
            _orders(have),
            _votes(have),
            _bands(have, k),
            _matched("At equal token T: diffusion minus AR", "T",
                     at_equal_temperature(have.test, shop.study.seed), k),
            _matched("At equal pass@1: diffusion minus AR", "pass@1",
                     at_equal_pass(have.test, shop.study.seed), k),
        ]  # fmt: skip
    return "\n".join(part for part in parts if part)


def _missing(shop: Workshop) -> str:
    left = {stage: shop.left(stage) for stage in STAGES}
    if not any(left.values()):
        return "All samples of the plan are drawn.\n"
    named = ", ".join(f"{many} of stage {stage}" for stage, many in left.items() if many)
    return f"Not finished. Samples that are missing: {named}.\n"


def _claims(have: Drawn, k: int) -> str:
    """What the papers say, beside the same figure here."""
    rows = []
    for one in have.found:
        name, cells = f"`{one.model}`", one.axis("token")
        if not cells:
            continue
        colder, hotter = cells[0], cells[-1]
        last = budgets[-1] if (budgets := one.budgets("token")) else None
        single = _share(one.best.estimate("pass_k", one.seed))
        rows.append(
            [
                "Pass@All of a grid of T is 7.3 points over Pass@1024 at one T (Wu et al., mean of 4 models)",
                name,
                f"{_share(one.union(cells))} against pass@{k} of {single} at one T; not at equal cost",
            ]
        )
        if last is not None:
            rows.append(
                [
                    "at equal budget, +6.7 points on AIME25 (Wu et al., third party's notes)",
                    name,
                    f"{_share(last.difference)} at the cost of {last.k} samples",
                ]
            )
        unique = one.solved(cells)
        rows.append(
            [
                "different T solve different problems (Wu et al.)",
                name,
                f"{unique.unique.found} unique solves, {unique.unique.expected:.1f} by chance "
                f"(p = {unique.unique.p:.3f}); {unique.halves.again} of {unique.halves.found} are "
                f"unique again on other samples, {unique.halves.expected:.1f} by chance",
            ]
        )
        voted = one.voted("token")
        if voted is not None:
            rows.append(
                [
                    "early exit saves up to 78 % at kept accuracy (Wu et al., third party's notes)",
                    name,
                    f"{100 * voted.tally.saved:.0f} % saved; {_share(voted.accuracy)} against "
                    f"{_share(voted.full)} of the full vote",
                ]
            )
        rows.append(
            [
                "higher T, more algorithms (Lee et al. 2025: T above 1)",
                name,
                f"eDA@{k} {plain(_json(colder.estimate('eda_k', one.seed)))} at T "
                f"{colder.drawn.cell.temperature:g}, {plain(_json(hotter.estimate('eda_k', one.seed)))} "
                f"at T {hotter.drawn.cell.temperature:g}",
            ]
        )
        if one.best.drawn.cell.decoder == "diffusion":
            rows.append(
                [
                    "higher T lowers AR-ness (DiffuCoder, T 0.2 to 1.2; its order follows tempered "
                    "confidence, ours the untempered)",
                    name,
                    f"local@1 {_share(colder.estimate('local', one.seed))} at T "
                    f"{colder.drawn.cell.temperature:g}, {_share(hotter.estimate('local', one.seed))} "
                    f"at T {hotter.drawn.cell.temperature:g}",
                ]
            )
    return table(
        "What the papers claim, and what we saw", ["claim", "model", "here, on `test`"], rows
    )


def _choices(shop: Workshop, have: Drawn) -> str:
    rows = []
    for model, picked in chosen(shop.study, have.dev).items():
        for measure, cell in picked.items():
            own = next(one for one in have.dev if one.drawn.cell == cell)
            value = _shown(measure, own.estimate(measure, shop.study.seed))
            cells = [f"`{model}`", named(measure, shop.study.k), _said(cell), value]
            rows.append([*cells, f"{len(own.samples)} x {own.samples[0].n}"])
    head = ["model", "best by", "cell", "there, on `dev`", "problems x samples"]
    return table("Choices, on `dev`", head, rows)


def _cells(shop: Workshop, have: Drawn) -> str:
    if not have.test[0].samples:
        return ""
    shared = common(have.test)
    rows = []
    for one in have.test:
        model, *rest = row(figures(one, shop.study.seed, shared))
        rows.append([f"`{model}`", *rest])
    many = len(have.test[0].samples)
    head = titles(shop.study.k, int(shared.sum()))
    return table(f"Cells, on {many} problems of `test`", head, rows)


def _budgets(have: Drawn) -> str:
    rows = [
        [
            f"`{one.model}`",
            _said(one.best.drawn.cell),
            AXIS[axis],
            str(budget.k),
            f"{budget.mixed:.1f}",
            f"{budget.positions:.0f}",
            _share(budget.single),
            _share(budget.mixture),
            _share(budget.difference),
        ]
        for one in have.found
        for axis in AXES
        for budget in one.budgets(axis)
    ]
    head = ["model", "single best (by `dev`)", "mixture over", "its samples", "the mixture's"]
    head += ["positions a problem", "single, %", "mixture, %", "mixture minus single, points"]
    return table("At equal total cost: a mixture against the single best temperature", head, rows)


def _solved(have: Drawn) -> str:
    rows = []
    for one in have.found:
        for axis in AXES:
            if cells := one.axis(axis):
                rows.append([f"`{one.model}`", AXIS[axis], *_unique(one, cells)])
    return table(
        "Who solves what: problems, of cells with as many samples each",
        ["model", "over", *UNIQUE],
        rows,
    )


def _orders(have: Drawn) -> str:
    rows = [
        [f"`{one.model}`", f"{tau:g}", *_unique(one, cells)]
        for one in have.found
        for tau, cells in one.orders().items()
    ]
    title = "The same for order temperature, at each token T"
    return table(title, ["model", "token T", *UNIQUE], rows)


UNIQUE = (
    "by any (Pass@All)", "by all", "by each", "unique", "by chance", "p", "unique in half",
    "solved again", "unique again", "by chance", "p",
)  # fmt: skip


def _unique(one: Found, cells: Sequence[Values]) -> list[str]:
    found = one.solved(cells)
    counts, unique, halves = found.counts, found.unique, found.halves
    each = ", ".join(
        f"{_axis_value(cell, cells)}: {many} ({alone})"
        for cell, many, alone in zip(found.cells, counts.by_cell, counts.by_it_alone, strict=True)
    )
    return [
        f"{counts.by_any} of {len(cells[0].samples)}",
        str(counts.by_all),
        each,
        str(unique.found),
        f"{unique.expected:.1f}",
        f"{unique.p:.3f}",
        str(halves.found),
        str(halves.solved),
        str(halves.again),
        f"{halves.expected:.1f}",
        f"{halves.p:.3f}",
    ]


def _axis_value(cell: Cell, cells: Sequence[Values]) -> str:
    """What tells a cell from the others."""
    taus = {one.drawn.cell.temperature for one in cells}
    orders = {one.drawn.cell.order_temperature for one in cells}
    if len(orders) == 1:
        return f"{cell.temperature:g}"
    return cell.short if len(taus) > 1 else f"{cell.order_temperature:g}"


def _votes(have: Drawn) -> str:
    rows = []
    for one in have.found:
        for axis in AXES:
            if (voted := one.voted(axis)) is None:
                continue
            counted = voted.tally
            rows.append(
                [
                    f"`{one.model}`",
                    AXIS[axis],
                    _share(voted.accuracy),
                    _share(voted.full),
                    f"{100 * counted.saved:.1f}",
                    f"{counted.exits} of {counted.problems}",
                    str(counted.false_exits),
                    str(counted.lost),
                    f"{_share(voted.single)} (k = {voted.samples})",
                    _share(voted.difference),
                ]
            )
    head = ["model", "over", "early exit, %", "all samples, %", "positions saved, %", "exits"]
    head += ["false exits", "of these the full vote is right", "single best at the same cost, %"]
    title = "Votes across temperatures, by outputs on inputs of no test"
    return table(title, [*head, "early exit minus that, points"], rows)


def _bands(have: Drawn, k: int) -> str:
    rows = []
    for one in have.found:
        cells = one.axis("token")
        for band in one.bands() if cells else []:
            rates = [
                f"{_share(cell.estimate('pass_1', one.seed, among))} / "
                f"{_share(cell.estimate('pass_k', one.seed, among))}"
                for cell in cells
                for among in [one.in_band(cell, band)]
            ]
            many = sum(x.band == band for x in one.best.samples)
            rows.append(
                [f"`{one.model}`", str(band), str(many), *rates, _share(one.union(cells, band))]
            )
    taus = list(
        dict.fromkeys(
            cell.drawn.cell.temperature for one in have.found for cell in one.axis("token")
        )
    )
    head = ["model", "band", "problems", *(f"T {tau:g}" for tau in taus), "Pass@All"]
    return table(f"By difficulty: pass@1 / pass@{k} at the best order T, %", head, rows)


def _matched(title: str, at: str, found: Sequence[Matched], k: int) -> str:
    lines: dict[tuple[Cell, str, float], dict[str, str]] = {}
    for one in found:
        line = lines.setdefault((one.cell, one.against, one.at), {})
        line[one.measure] = _shown(one.measure, one.difference)
    rows = [
        [f"`{cell.name}`", f"`{against}`", f"{value:.3g}", *(line[name] for name in COMPARED)]
        for (cell, against, value), line in lines.items()
    ]
    units = [named(name, k) + (", points" if name in SHARES else "") for name in COMPARED]
    return table(title, ["cell", "against", at, *units], rows)


def _said(cell: Cell) -> str:
    order = "" if cell.order_temperature is None else f", order T {cell.order_temperature:g}"
    return f"T {cell.temperature:g}{order}"


def _shown(measure: str, estimate: Estimate | None) -> str:
    return shown(measure, _json(estimate))


def _share(estimate: Estimate | None) -> str:
    return percent(_json(estimate))


def _json(estimate: Estimate | None) -> dict[str, float | int | None] | None:
    return None if estimate is None else estimate.to_json()
