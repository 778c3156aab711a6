"""The page of a run: every number is in its curves, at its place; text is escaped; nothing is loaded."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from diffucode.cli import run
from diffucode.runpage.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MOST_POINTS,
    RIGHT,
    WIDTH,
    Curve,
    Point,
    lines,
    stacked,
    thinned,
    ticks,
    trailing_mean,
)
from diffucode.runpage.page import write_page
from diffucode.runpage.panels import PANELS, drawn

Tell = Callable[..., tuple[int, str, str]]
CONFIG = {"model": "mini", "updates": 4, "update": {"objective": {"kind": "bnpo"}}}


def update(step: int, **changes: Any) -> dict[str, Any]:
    """A row with a value of its own for every figure that a panel names."""
    keys = [key for panel in PANELS for key in panel.names if not key.startswith("dev_")]
    return {"step": step} | {k: n + step / 10 for n, k in enumerate(keys)} | changes


def evaluation(step: int, passed: float, **others: float) -> dict[str, Any]:
    return {"step": step, "dev_pass": passed, "dev_pass_32": passed / 2, **others}


ROWS = [
    evaluation(0, 0.25, dev_arness_local1=0.5, dev_arness_global4_32=0.75),
    update(1, kl=None),
    update(2, kl=None, reward=None),
    evaluation(2, 0.5),
    update(3, kl=None, own_figure=7.5),
    update(4, kl=math.nan),
    evaluation(4, 0.375, dev_arness_local1=0.625),
]


def folder_of(path: Path, rows: list[dict[str, Any]] = ROWS, **changes: Any) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    record = {"config": CONFIG, "seeds": {"seed": 3}, "revision": "abc+changes"} | changes
    (path / "run.json").write_text(json.dumps(record))
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def page(path: Path) -> str:
    return write_page(path).read_text()


def pictures(text: str) -> dict[str, ElementTree.Element]:
    """The pictures by their titles."""
    found = re.findall(r"<figcaption>([^<]+).*?(<svg.*?</svg>)", text)
    return {title.strip(): ElementTree.fromstring(svg) for title, svg in found}


def points(svg: ElementTree.Element) -> dict[str, tuple[float, float]]:
    """Where each point stands, by what it says, in the units of the axes: read off its labels."""
    labels: dict[str, list[tuple[float, float]]] = {"x": [], "y": []}
    for text in svg.iter("text"):
        kind = text.attrib["class"]
        at = float(text.attrib[kind]) - (3.5 if kind == "y" else 0)
        labels[kind].append((at, float(text.text or "")))

    def unit(kind: str, at: float) -> float:
        (a, first), *_, (b, last) = labels[kind]
        return first + (at - a) / (b - a) * (last - first)

    return {
        circle.findtext("title", ""): tuple(
            unit(kind, float(circle.attrib[f"c{kind}"])) for kind in ("x", "y")
        )
        for circle in svg.iter("circle")
    }  # type: ignore[return-value]


def test_every_number_is_a_point_at_its_place(tmp_path: Path) -> None:
    shown = pictures(page(folder_of(tmp_path)))
    wanted = {
        panel.title: {key: name for key, name in panel.names.items() if key in update(1)}
        for panel in PANELS
    }
    for title, names in wanted.items():
        if title == "Where the time goes" or title.startswith("KL") or not names:
            continue
        found = points(shown[title])
        for key, name in names.items():
            for row in ROWS:
                if (value := row.get(key)) is not None:
                    x, y = found.pop(f"{name}, step {row['step']}: {value:.4g}")
                    assert x == pytest.approx(row["step"], abs=0.02), (key, row)
                    assert y == pytest.approx(value, abs=0.02), (key, row)
        assert not found, title
    assert "KL to the reference" not in shown, "it was never measured"
    assert points(shown["own_figure"]).keys() == {"own_figure, step 3: 7.5"}
    assert not {"step", "epoch"} & shown.keys()


def test_evaluations_by_pace_and_their_table(tmp_path: Path) -> None:
    text = page(folder_of(tmp_path))
    found = points(pictures(text)["Solved (pass@1)"])
    assert found["usual pace, step 2: 0.5"] == pytest.approx((2, 0.5), abs=0.02)
    assert found["32 steps, step 4: 0.1875"] == pytest.approx((4, 0.1875), abs=0.02)
    said = points(pictures(text)["AR-ness"]).keys()
    assert said == {
        "local@1, step 0: 0.5",
        "local@1, step 4: 0.625",
        "global@4, 32 steps, step 0: 0.75",
    }
    [table] = re.findall(r"<h2>Evaluations</h2><table>(.*?)</table>", text)
    head, *body = (re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in table.split("</tr>")[:-1])
    assert head[1:4] == ["first (step 0)", "best (step 2)", "last (step 4)"]
    assert ["dev_pass", "0.25", "0.5", "0.375", "+0.125"] in body
    assert ["dev_arness_local1", "0.5", "-", "0.625", "+0.125"] in body
    assert ["dev_arness_global4_32", "0.75", "-", "-", "-"] in body


def test_what_was_not_measured_is_a_gap(tmp_path: Path) -> None:
    reward = pictures(page(folder_of(tmp_path)))["Reward"]
    lengths = [len(line.attrib["points"].split()) for line in reward.iter("polyline")]
    assert lengths == [1, 2], "nothing is drawn from step 1 to step 3"


def test_the_time_is_stacked(tmp_path: Path) -> None:
    svg = pictures(page(folder_of(tmp_path)))["Where the time goes"]
    bars = list(svg.iter("rect"))
    assert len(bars) == 3 * 4
    rows = [row for row in ROWS if "loss" in row]
    names = ("seconds_rollout", "seconds_reward", "seconds_update")
    scale = float(bars[0].attrib["height"]) / rows[0][names[0]]
    for n, row in enumerate(rows):
        mine = bars[3 * n : 3 * n + 3]
        words = ", ".join(f"{k.removeprefix('seconds_')} {row[k]:.4g}" for k in names)
        assert {bar.findtext("title") for bar in mine} == {f"step {row['step']}: {words}"}
        below = HEIGHT - BOTTOM
        for bar, key in zip(mine, names, strict=True):
            top, height = float(bar.attrib["y"]), float(bar.attrib["height"])
            assert height == pytest.approx(scale * row[key], abs=0.2)
            assert top + height == pytest.approx(below, abs=0.2), "on top of the one before"
            below = top


def test_facts_and_configuration(tmp_path: Path) -> None:
    text = page(folder_of(tmp_path / "mine"))
    for words in (
        "<h1>mine</h1>", "model <b>mini</b>", "step <b>4 of 4</b>", "state <b>not finished</b>",
        "seed <b>3</b>", "revision <b>abc+changes</b>", "update:\n  objective:\n    kind: bnpo\n",
    ):  # fmt: skip
        assert words in text
    (tmp_path / "mine" / "model").mkdir()
    assert "state <b>finished</b>" in page(tmp_path / "mine")
    [row] = re.findall(r"<tr><td>own_figure</td>.*?</tr>", text)
    assert row.count("7.5 @ 3") == 4


def test_a_page_loads_nothing_and_is_the_same_again(tmp_path: Path) -> None:
    text = page(folder_of(tmp_path))
    assert not re.search(r"http|src=|href=|<script|<link|@import|url\(", text)
    assert page(tmp_path) == text


def test_text_is_escaped(tmp_path: Path) -> None:
    evil = "</pre><script>alert(1)</script>&\"'"
    rows = [{"step": 1, evil: 2.0, f"dev_{evil}": 0.5, "loss": evil}]
    folder = folder_of(tmp_path / "<b>run", rows, config={"model": evil}, revision=evil)
    text = page(folder)
    assert "<script" not in text and "<b>run" not in text
    assert len(pictures(text)) == 2, "a loss that is no number is no curve"
    assert text.count("alert(1)") >= 5


def test_a_torn_line_no_rows_and_rows_of_other_trainings(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [])
    assert "Nothing was logged yet" in page(folder)
    (folder / "metrics.jsonl").unlink()
    assert "Nothing was logged yet" in page(folder)
    rows = [
        {"step": 5, "loss": 2.5, "cross_entropy": 3.5, "rate": 0.1, "epoch": 0.5},
        {"loss": 9.0},
    ]
    folder_of(tmp_path, [*rows, {"step": 10, "dev_passed": math.nan, "dev_valid": 0.75}])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 15, "lo')
    shown = pictures(page(folder))
    assert shown.keys() == {"Loss", "Learning rate", "Valid Python"}
    said = {"loss, step 5: 2.5", "cross-entropy, nats, step 5: 3.5"}
    assert {circle.findtext("title") for circle in shown["Loss"].iter("circle")} == said


def test_a_step_that_was_logged_twice_counts_once() -> None:
    [panel] = drawn([{"step": 2, "loss": 1.0}, {"step": 1, "loss": 3.0}, {"step": 2, "loss": 5.0}])
    assert panel.curves[0].points == [(1, 3.0), (2, 5.0)]


def test_long_curves_keep_their_extremes_and_get_a_mean() -> None:
    rough = [Point(n, (-1.0) ** n) for n in range(10_000)]
    rough[4321] = Point(4321, 50.0)
    rough[77] = Point(77, math.nan)
    kept = thinned(rough)
    assert len(kept) <= MOST_POINTS and rough[4321] in kept and kept == sorted(kept)
    assert thinned(rough[:50]) == rough[:50]
    svg = ElementTree.fromstring(lines([Curve("c", rough)], (0, 9999)))
    assert [line.attrib["class"] for line in svg.iter("polyline")] == ["faint", "line"]
    smooth = ElementTree.fromstring(
        lines([Curve("c", [Point(n, n) for n in range(999)])], (0, 998))
    )
    assert [line.attrib["class"] for line in smooth.iter("polyline")] == ["line"]
    assert trailing_mean([Point(n, n) for n in range(40)])[-1] == (39, 38.5)
    many = [Point(n, 2.0) for n in range(1000)]
    bars = list(
        ElementTree.fromstring(stacked([Curve("a", many), Curve("b", many)], (0, 999))).iter("rect")
    )
    assert len(bars) == 2 * 77
    assert bars[0].findtext("title") == "steps 0 to 12: a 2, b 2"


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 1.05, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 40, [0, 10, 20, 30, 40]),
        (-0.03, 0.021, [-0.03, -0.02, -0.01, 0, 0.01, 0.02]),
        (1e-7, 3e-7, [1e-7, 1.5e-7, 2e-7, 2.5e-7, 3e-7]),
        (999.2, 999.9, [999.2, 999.4, 999.6, 999.8]),
    ],
)
def test_axes_have_round_numbers(low: float, high: float, wanted: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(wanted, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0, 1e-12, 1e12])
def test_a_constant_and_a_single_point_stay_inside(value: float) -> None:
    svg = ElementTree.fromstring(lines([Curve("c", [Point(1, value)])], (1, 1)))
    [circle] = svg.iter("circle")
    assert LEFT <= float(circle.attrib["cx"]) <= WIDTH - RIGHT
    assert 0 <= float(circle.attrib["cy"]) <= HEIGHT - BOTTOM


# --- the command line --------------------------------------------------------------------------


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Exit code, stdout and stderr of a command line."""

    def tell(*arguments: Any) -> tuple[int, str, str]:
        code = run(("runpage", *map(str, arguments)))
        out, err = capsys.readouterr()
        return code, out, err

    return tell


def test_the_command_writes_and_says_where(tell: Tell, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run")
    assert tell(folder) == (0, f"{folder / 'run.html'}\n", "")
    assert tell(folder, "--out", tmp_path / "x.html") == (0, f"{tmp_path / 'x.html'}\n", "")
    assert (tmp_path / "x.html").read_bytes() == (folder / "run.html").read_bytes()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda run: (run / "run.json").unlink(), "run.json: cannot read it (No such file"),
        (lambda run: (run / "run.json").write_text("[]"), "run.json: not the record of a run"),
        (lambda run: (run / "run.json").write_bytes(b"\xff{"), "run.json: not the record of a run"),
        (
            lambda run: (run / "metrics.jsonl").write_text("7\n{}\n"),
            "line 1: expected a JSON object",
        ),
        (lambda run: (run / "run.html").mkdir(), "run.html: cannot write the page there"),
    ],
    ids=range(5),
)
def test_bad_folders_are_one_line_and_code_2(
    prepare: Any, message: str, tell: Tell, tmp_path: Path
) -> None:
    prepare(folder := folder_of(tmp_path / "run"))
    code, out, err = tell(folder)
    assert (code, out) == (2, "")
    assert err.startswith("diffucode: ") and err.count("\n") == 1, err
    assert message in err


def test_a_folder_that_is_not_there(tell: Tell, tmp_path: Path) -> None:
    for place in (tmp_path / "nowhere", __file__):
        code, _, err = tell(place)
        assert code == 2 and "expected the folder of a training run" in err, err
    assert tell()[0] == 2
