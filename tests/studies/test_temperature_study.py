"""The temperature study: choices, comparisons at equal cost, tables and the command, from samples by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from gridded import ar, diffusion, drawn, samples
from running import ROOT, as_module

from diffucode import config
from diffucode.errors import ConfigError
from diffucode.files import append_jsonl
from diffucode.measure.card import BEGIN, END
from diffucode.measure.sweep.figures import Values
from diffucode.measure.sweep.grid import Grid
from diffucode.measure.sweep.plan import Cell
from diffucode.metrics.scaling import mixture
from diffucode.metrics.voting import Rule
from diffucode.studies.temperature.figures import Found, found_of
from diffucode.studies.temperature.plan import STAGES, TemperatureStudy, chosen
from diffucode.studies.temperature.report import drawn as drawn_of
from diffucode.studies.temperature.report import report
from diffucode.studies.temperature.stages import Workshop

study = as_module("scripts/temperature_study")
PLAN = ROOT / "configs/studies/temperature.yaml"
SMALL = [
    "models=[mini,mini-ar]", "temperatures=[0.5,1.0]", "order_temperatures=[0.0,0.5]",
    "dev.problems=4", "test.problems=4", "samples=4", "k=2", "deep.samples=8", "vote.least=2",
]  # fmt: skip
Right = Callable[[Cell, int, int], bool]
"""Whether sample n of problem q is right in a cell."""


def values(cell: Cell, right: list[str], n: int | None = None, **more: object) -> Values:
    rows = [
        samples(f"p{q}", [letter == "1" for letter in line], **more)  # type: ignore[arg-type]
        for q, line in enumerate(right)
    ]
    return Values(drawn(cell, *rows), rows if n is None else [row.part(0, n) for row in rows], 2)


def test_the_shipped_plan_is_what_the_issue_asks_for() -> None:
    plan = config.load(TemperatureStudy, PLAN)
    assert min(plan.dev.problems, plan.test.problems) >= 200
    assert (len(plan.temperatures), len(plan.order_temperatures)) == (4, 3)
    assert (plan.samples, plan.deep.samples) == (16, 64)
    splits = [plan.sweep(stage).split for stage in STAGES]
    assert splits == ["dev", "test", "test"] and plan.deep.by[0] == "pass_k"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("test.seed=21", "expected two different ones"),
        ("deep.samples=8", "at least the 16 samples"),
        ("samples=15", "an even number"),
        ("temperatures=[0.0, 1.0]", "expected all over 0"),
        ("k=17", "1 <= k <= samples"),
    ],
)
def test_plans_that_make_no_sense(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.load(TemperatureStudy, PLAN, [override])


def test_the_best_on_dev_is_chosen_and_of_equal_ones_the_coldest() -> None:
    plan = config.load(TemperatureStudy, PLAN, [*SMALL, "models=[mini]"])
    dev = [
        values(diffusion(0.5), ["1100", "0000"]),
        values(diffusion(1.0), ["1000", "1000"]),
        values(diffusion(1.3), ["0100", "0001"]),
    ]
    picked = chosen(plan, dev)["mini"]
    assert picked["pass_k"] == diffusion(1.0)
    assert picked["eda_k"] == diffusion(1.0)
    assert chosen(plan, dev[:1])["mini"]["pass_k"] == diffusion(0.5)


def grid_of_four(rule: Rule) -> Found:
    """Problem 0 is solved at T 0.5 alone, problem 1 at T 1.0 alone, problem 2 at order T 0.5 alone; a
    sample costs 10 positions in the best cell and 30 in the others."""
    cells = [
        values(diffusion(0.5), ["1111", "0000", "0000"]),
        values(diffusion(0.5, 0.5), ["1100", "0000", "1111"], positions=[30] * 4),
        values(diffusion(1.0), ["0000", "1110", "0000"], positions=[30] * 4),
        values(diffusion(1.0, 0.5), ["0000", "0100", "0110"], positions=[30] * 4),
    ]
    return Found("mini", cells, cells[0], 0, rule)


def test_axes_go_through_the_best_cell() -> None:
    found = grid_of_four(Rule())
    names = {axis: [one.drawn.cell.short for one in found.axis(axis)] for axis in
             ("token", "order", "both")}  # type: ignore[arg-type]  # fmt: skip
    assert names["token"] == ["t0.5-o0", "t1-o0"]
    assert names["order"] == ["t0.5-o0", "t0.5-o0.5"]
    assert len(names["both"]) == 4
    of_ar = [values(ar(0.5), ["1000"]), values(ar(1.0), ["1000"])]
    other = Found("mini-ar", of_ar, of_ar[0], 0, Rule())
    assert len(other.axis("token")) == 2 and other.axis("order") == other.axis("both") == []


def test_a_mixture_spends_what_the_single_best_spends() -> None:
    """4 samples at 10 positions buy 2 at 20 on average."""
    found = grid_of_four(Rule())
    budgets = {one.k: one for one in found.budgets("token")}
    assert list(budgets) == [1, 2, 4]
    four = budgets[4]
    assert (four.positions, four.mixed) == (40, 2)
    assert four.single.value == pytest.approx(1 / 3)
    mixed = [mixture([4, 4], right, 2) for right in ([4, 0], [0, 3], [0, 0])]
    assert four.mixture.value == pytest.approx(sum(mixed) / 3)
    assert four.difference.value == pytest.approx(sum(mixed) / 3 - 1 / 3)
    one = found.budgets("both")[0]
    assert one.mixed == pytest.approx(10 / 25)  # less than a sample: it can only be drawn by chance


def test_the_best_cell_brings_all_its_samples() -> None:
    few = values(diffusion(0.5), ["10000000", "00000000"], 4)
    many = values(diffusion(0.5), ["10000000", "00000001"])
    found = found_of([few], [many], diffusion(0.5), 0, Rule())
    assert [one.n for one in found.best.samples] == [8, 8]
    assert [one.n for one in found.cells[0].samples] == [4, 4]
    assert found_of([few], [], diffusion(0.5), 0, Rule()).best is few


def test_unique_solves_and_their_halves() -> None:
    found = grid_of_four(Rule())
    token = found.solved(found.axis("token"))
    assert token.counts[:3] == (2, 0, (1, 1)) and token.unique.by_cell == (1, 1)
    assert (token.halves.found, token.halves.solved, token.halves.again) == (2, 2, 2)
    orders = {tau: found.solved(cells) for tau, cells in found.orders().items()}
    assert orders[0.5].counts.by_it_alone == (0, 1)
    assert (orders[1.0].counts.by_it_alone, orders[1.0].halves.again) == ((0, 1), 1)
    assert found.union(found.axis("token")).value == pytest.approx(2 / 3)  # type: ignore[union-attr]
    assert found.bands() == [1] and found.union(found.axis("token"), 2) is None


def test_what_the_first_half_alone_solves_is_not_solved_again() -> None:
    cells = [values(diffusion(0.5), ["1100"]), values(diffusion(1.0), ["0000"])]
    halves = Found("mini", cells, cells[0], 0, Rule()).solved(cells).halves
    assert (halves.found, halves.solved, halves.again) == (1, 0, 0)


def test_a_vote_beside_one_of_equal_cost() -> None:
    found = grid_of_four(Rule(round=1, least=2))
    voted = found.voted("token")
    assert voted is not None
    # all programs are one kind, so every vote ends with 2 + 2 samples: 80 of 160 positions
    assert (voted.tally.exits, voted.tally.saved) == (3, 0.5)
    assert voted.samples == 4  # 80 positions at 10: all there are
    assert voted.accuracy.value == pytest.approx(1 / 3) == voted.single.value
    assert voted.tally.false_exits == 2
    assert found.voted("order") is not None


# --- from the folder ---------------------------------------------------------------------------


def easy(cell: Cell, q: int, n: int) -> bool:
    """The first problem always; the second hot, the third cold or in a random order."""
    hot = cell.temperature > 0.7
    return q == 0 or (q == 1 and hot and n % 2 == 0) or (q == 2 and not hot and n > 1)


def fill(shop: Workshop, stage: str, right: Right = easy) -> None:
    """All samples of a stage."""
    grid: Grid = shop.grid(stage)  # type: ignore[arg-type]
    for name in shop.study.models:
        decoder = "ar" if "-ar" in name else "diffusion"
        file = grid.folder / "models" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dict(name=name, decoder=decoder, parameters=1, weights="w")))
        for cell in grid.sweep.cells(name, decoder):  # type: ignore[arg-type]
            if stage == "deep" and cell not in shop.deep():
                continue
            first = shop.study.samples if stage == "deep" else 0
            rows = []
            for q, id in enumerate(grid.ids):
                hits = [right(cell, q, n) for n in range(first, grid.sweep.samples)]
                row = vars(samples(id, hits)) | {"first": first, "band": 1 + q % 2}
                rows.append(row)
            append_jsonl(grid.file(cell), rows)


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(config.load(TemperatureStudy, PLAN, SMALL), tmp_path / "study", tmp_path)


def test_stages_and_what_is_left(shop: Workshop) -> None:
    each = 4 * 4  # problems x samples
    assert (
        shop.left("choices") == 2 * 4 * each
    )  # of models that were never opened: a full grid each
    with pytest.raises(ConfigError, match="run the stage choices first"):
        shop.deep()
    fill(shop, "choices")
    assert (shop.left("choices"), shop.left("test")) == (0, (4 + 2) * each)
    picked = shop.deep()
    assert {cell.model for cell in picked} == {"mini", "mini-ar"}
    fill(shop, "test")
    assert shop.left("test") == 0
    assert shop.left("deep") == len(picked) * 4 * 4
    fill(shop, "deep")
    assert shop.left("deep") == 0
    assert {one.n for cell in shop.values("deep") for one in cell.samples} == {8}
    assert {one.n for cell in shop.values("test") for one in cell.samples} == {4}


def test_a_report_and_a_picture_go_into_the_document(
    shop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doc = tmp_path / "doc.md"
    doc.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    command = ["report", *SMALL, "--folder", str(shop.folder), "--problems", str(tmp_path)]
    study.main([*command, "--doc", str(doc)])
    assert "Not finished" in doc.read_text() and not doc.with_suffix(".png").exists()
    for stage in STAGES:
        fill(shop, stage)
    study.main([*command, "--doc", str(doc)])
    text = doc.read_text()
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"{END}\nafter\n")
    for title in (
        "What the papers claim", "Choices, on `dev`", "Cells, on 4 problems", "At equal total cost",
        "Who solves what", "order temperature, at each token T", "Votes across", "By difficulty",
        "At equal token T", "At equal pass@1",
    ):  # fmt: skip
        assert f"### {title}" in text or title in text, title
    assert "All samples of the plan are drawn." in text and "(doc.png)" in text
    assert doc.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert report(shop, drawn_of(shop)) in capsys.readouterr().out


def test_the_command_says_what_is_left(shop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    fill(shop, "choices")
    study.main(["plan", *SMALL, "--folder", str(shop.folder)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["choices", "0"] and lines[1].split()[:2] == ["test", "96"]
    assert "at 0.500 core-seconds a sample" in lines[-1]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["plan", "samples=3"], "an even number"),
        (["plan", "--plan", "none.yaml"], "none.yaml: cannot read the config file"),
        (["run", "--jobs", "0"], "--jobs 0: expected at least 1"),
        (["report", "--doc", "none.md"], "--doc none.md: no such file"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    command: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        study.main([*command, "--folder", str(tmp_path)])
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert message in printed and "Traceback" not in printed


def test_the_document_has_its_marks() -> None:
    text = (ROOT / "docs/temperature.md").read_text()
    assert text.count(BEGIN) == text.count(END) == 1
