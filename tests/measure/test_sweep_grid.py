"""A sweep from the model to the page: through kills, extended, shared, and refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from gridded import diffusion, samples
from twice import twice

from diffucode.cli import run
from diffucode.errors import ResumeError
from diffucode.execution.sandbox import Sandbox
from diffucode.files import append_jsonl
from diffucode.measure import problems
from diffucode.measure.claim import claimed
from diffucode.measure.sweep import cells as cells_of
from diffucode.measure.sweep.grid import Grid
from diffucode.measure.sweep.page import render
from diffucode.measure.sweep.plan import Sweep
from diffucode.measure.sweep.report import report

SWEEP = Sweep(("mini", "mini-ar"), (0.0, 1.5), (0.0, 2.0), problems=2, samples=3, k=2, seed=5)


@pytest.fixture(autouse=True)
def easy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "made", twice)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Grid:
    """A sweep without interruptions."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(problems, "made", twice)
        grid = Grid(SWEEP, folder, folder)
        assert len(list(grid.run(sandbox))) == 4 + 2
        return grid


def written(grid: Grid) -> dict[str, list[dict[str, object]]]:
    """What does not depend on the clock."""
    found = {}
    for drawn in grid.drawn():
        rows = [vars(one) for one in drawn.problems.values()]
        clock = ("core_seconds", "seconds")
        found[drawn.cell.name] = [
            {name: value for name, value in row.items() if name not in clock} for row in rows
        ]
    return found


def test_every_cell_has_its_samples(whole: Grid) -> None:
    sizes = {drawn.cell.name: [one.n for one in drawn.problems.values()] for drawn in whole.drawn()}
    assert sizes == {
        "mini-t0-o0": [1, 1],
        "mini-t0-o2": [3, 3],
        "mini-t1.5-o0": [3, 3],
        "mini-t1.5-o2": [3, 3],
        "mini-ar-t0": [1, 1],
        "mini-ar-t1.5": [3, 3],
    }
    assert whole.left() == 0
    [ar] = [drawn for drawn in whole.drawn() if drawn.cell.name == "mini-ar-t1.5"]
    [first, _] = ar.problems.values()
    assert all(cost < 64 + 64 for cost in first.positions)  # each position once, with the cache


def test_a_killed_sweep_goes_on_and_a_larger_one_extends_it(
    whole: Grid, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer samples first, then all, killed in the middle of a line: the same as at once."""
    hot = replace(SWEEP, temperatures=(1.5,), order_temperatures=(2.0,))
    small = Grid(replace(hot, samples=2), tmp_path, whole.problems)
    list(small.run(sandbox))
    file = small.file(small.cells()[0])
    file.write_bytes(file.read_bytes()[:-40])
    grid = Grid(hot, tmp_path, whole.problems)
    assert grid.left() == (1 + 3) + 1 * 2  # of mini a whole problem, of mini-ar a sample each
    monkeypatch.setattr(cells_of, "CHUNK", 1)  # a problem at a time
    list(grid.run(sandbox))
    at_once = written(whole)
    assert written(grid) == {name: at_once[name] for name in ("mini-t1.5-o2", "mini-ar-t1.5")}


def test_blocks_are_put_together_and_an_overlap_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "cell.jsonl"
    for first, right in ((2, [True]), (0, [False, True]), (1, [False, False])):
        append_jsonl(file, [vars(samples("p", right)) | {"first": first}])
    [one] = cells_of.read(file, diffusion(1.0)).problems.values()
    assert one.right == [False, True, True] and one.core_seconds == 0.5 * 3


def test_a_cell_that_another_process_draws_is_left_to_it(
    whole: Grid, tmp_path: Path, sandbox: Sandbox
) -> None:
    grid = Grid(replace(SWEEP, models=("mini-ar",), temperatures=(0.0,)), tmp_path, whole.problems)
    [cell] = SWEEP.cells("mini-ar", "ar")[:1]
    with claimed(grid.file(cell).with_suffix("")) as mine:
        assert mine and list(grid.run(sandbox)) == []
    assert len(list(grid.run(sandbox))) == 1


def test_another_way_to_decode_is_refused(whole: Grid, sandbox: Sandbox) -> None:
    other = Grid(replace(SWEEP, seed=6), whole.folder, whole.problems)
    with pytest.raises(ResumeError, match="drawn with another seed"):
        list(other.run(sandbox))
    file = whole.folder / "models" / "mini.json"
    kept = file.read_text()
    file.write_text(json.dumps(json.loads(kept) | {"weights": "x"}))
    with pytest.raises(ResumeError, match="other weights"):
        list(whole.run(sandbox))
    file.write_text(kept)


def test_the_report_and_its_page(whole: Grid) -> None:
    found = report(whole)
    assert json.loads(json.dumps(found)) == found
    assert (found["problems"], found["left"], len(found["cells"])) == (2, 0, 6)
    assert {one["against"] for one in found["equal_pass"]} == {"mini-ar"}
    page = render(found)
    fronts = [one for one in found["fronts"] if one["cells"]]  # EA is undefined where none is right
    assert page.count("<svg") == 9 + len(fronts) and fronts  # heat maps of mini, and fronts
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    for text in ("mini-t1.5-o2", "eDA@2", "At equal pass@1", "effective"):
        assert text in page


def test_the_command(whole: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["models=[mini,mini-ar]", "problems=2", "k=2", "seed=5"]
    grid = ["--temperature", "0", "--temperature", "1.5", "--order-temperature", "0"]
    command = [
        "sweep",
        *plan,
        *grid,
        "--order-temperature",
        "2",
        "-n",
        "3",
        "--out",
        str(whole.folder),
    ]
    assert run([*command, "--report"]) == 0
    out = capsys.readouterr().out
    assert "| mini-t1.5-o2 " in out and (whole.folder / "report.html").is_file()
    assert run([*command, "--report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == 2
    empty = str(whole.folder / "empty")
    assert run(["sweep", *plan, "-n", "3", "--out", empty, "--report"]) == 2
    assert "run the sweep" in capsys.readouterr().err
