"""The AceCode preparation against the published one, and where it has to differ."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffucode.data.acecode import (
    COPY,
    MODELS,
    PAPER,
    SHIPPED,
    Band,
    Cut,
    NoCopy,
    Tally,
    as_completion,
    header_of,
    prepare,
    rates,
)
from diffucode.data.rows import Row, read
from diffucode.errors import TaskError

SAMPLE = Path(__file__).parent / "acecode_sample.jsonl"
ROWS = [row.fields for row in read(SAMPLE) if row.fields]


def prepared(band: Band, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Tally]:
    tally = Tally()
    placed = [Row(f"t:{n}", row) for n, row in enumerate(rows, start=1)]
    return [*prepare(lambda: placed, band, tally)], tally


def published(rows: list[dict[str, Any]], deviation: float = 40) -> list[dict[str, Any]]:
    """recipes/process_data.py with difficulty=hard, in its own steps."""
    accs = {
        row["id"]: [x["pass_rate"] for x in row["inferences"] if x["model_name"] in MODELS]
        for row in rows
    }
    split_acc = np.percentile([np.mean(x) for x in accs.values()], 20)
    split_std = np.percentile([np.std(x) for x in accs.values()], deviation)
    kept = [row for row in rows if np.mean(accs[row["id"]]) <= split_acc]
    kept = [row for row in kept if np.std(accs[row["id"]]) >= split_std]
    found = [copy for row in kept for copy in published_copies(row)]
    return [{key: value for key, value in row.items() if key != "inferences"} for row in found]


def published_copies(row: dict[str, Any]) -> list[dict[str, Any]]:
    if "you" in row["question"].lower():
        return [row]
    best = max(row["inferences"], key=lambda x: x["pass_rate"])["completion"]
    header = best.split(":\n")[0].strip()
    if not header.startswith("def "):
        return [row]
    question = (
        f'Please complete the following problem:\n```\ndef {header[4:]}:\n    """\n'
        f'    {row["question"]}\n    """\n```\n'
    )
    return [row, {**row, "question": question}]


def many(count: int = 200) -> list[dict[str, Any]]:
    """Rows on which the models agree or do not, most of which can have a copy."""
    rng = np.random.default_rng(0)
    rows = []
    for n in range(count):
        row = json.loads(json.dumps(ROWS[n % 12]))
        row["id"] = f"{row['id']}_{n}"
        center, spread = rng.random(), 0.1 if rng.random() < 0.7 else 1.0
        for one in row["inferences"]:
            one["pass_rate"] = float(np.clip(center + spread * (rng.random() - 0.5), 0, 1))
        rows.append(row)
    return rows


@pytest.mark.parametrize(("band", "deviation"), [(SHIPPED["hard"], 40), (PAPER, 60)])
def test_hard_is_what_the_published_code_keeps(band: Band, deviation: float) -> None:
    rows = [row for row in many() if not row["id"].startswith(("oss_5", "bigcode_python_fns_10"))]
    ours, tally = prepared(band, rows)
    theirs = published(rows, deviation)
    assert [row | {"id": row["id"].removesuffix(COPY)} for row in ours] == theirs
    assert len(ours) == tally.kept + tally.copies and 0 < tally.copies < tally.kept < 40


def test_the_sample() -> None:
    ids = [row["id"] for row in prepared(SHIPPED["hard"], ROWS)[0]]
    assert ids == [
        "evol_6", "evol_6/complete", "bigcode_python_fns_7", "bigcode_python_fns_7/complete"
    ]  # fmt: skip
    paper, tally = prepared(PAPER, ROWS)
    assert [row["id"] for row in paper] == ids[2:]
    assert (tally.read, tally.kept, tally.copies) == (13, 1, 1)
    assert not any("inferences" in row for row in paper)
    assert set(paper[0]) == {"id", "source", "question", "test_cases", "context_messages"}
    assert paper[0]["question"] == ROWS[7]["question"]
    assert paper[1]["question"] == (
        "Please complete the following problem:\n```\n"
        "def count_islands(grid: list[list[int]]) -> int:\n"
        f'    """\n    {ROWS[7]["question"]}\n    """\n```\n'
    )


def test_easy_and_medium_are_bands_of_the_mean_alone() -> None:
    rows = many()
    means = {row["id"]: np.mean(rates(row)) for row in rows}
    low, high = np.percentile([*means.values()], [25, 75])
    for name, band in (("medium", (low, high)), ("easy", (high, 1.0))):
        found = {row["id"].removesuffix(COPY) for row in prepared(SHIPPED[name], rows)[0]}  # type: ignore[index]
        assert found == {id for id, mean in means.items() if band[0] <= mean <= band[1]}


def test_the_ends_of_a_band_belong_to_it() -> None:
    cut = Cut.of([[0.0, 0.0], [0.0, 0.5], [1.0, 1.0]], Band(0, 50, 100))
    assert cut == Cut(0.0, 0.25, 0.25)
    assert cut.keeps([0.0, 0.5]) and not cut.keeps([0.0, 0.0]) and not cut.keeps([0.0, 1.0])


def test_a_question_without_rates_takes_nothing_along() -> None:
    # Published: the mean of no rates is NaN, so are all percentiles, and nothing is kept.
    with pytest.warns(RuntimeWarning):
        assert published(ROWS) == []
    found, tally = prepared(SHIPPED["hard"], ROWS)
    assert found == prepared(SHIPPED["hard"], ROWS[:12])[0] != []
    assert tally.left_out == {f"without a pass rate of {' or '.join(MODELS)}": ["t:13"]}


def test_rows_that_cannot_be_used_are_counted_and_named() -> None:
    broken = [ROWS[0] | {"question": ""}, ROWS[0] | {"test_cases": []}, ROWS[0] | {"id": None}]
    broken += [ROWS[0] | {"inferences": None}, ROWS[0] | {"inferences": [{"pass_rate": None}]}]
    tally = Tally()
    placed = [Row(f"t:{n}", row) for n, row in enumerate([None, *broken, *ROWS[:12]])]
    assert [*prepare(lambda: placed, SHIPPED["hard"], tally)] == prepared(
        SHIPPED["hard"], ROWS[:12]
    )[0]
    assert tally.left_out == {
        "no JSON object": ["t:0"],
        "without question": ["t:1"],
        "without test_cases": ["t:2"],
        "without id": ["t:3"],
        f"without a pass rate of {' or '.join(MODELS)}": ["t:4", "t:5"],
    }
    with pytest.raises(TaskError, match="no question has pass rates"):
        prepared(SHIPPED["hard"], broken)


def test_a_pass_rate_that_is_no_number_counts_nothing() -> None:
    row = json.loads(json.dumps(ROWS[6]))
    before = rates(row)
    for bad in (None, math.nan, "1.0"):
        row["inferences"].append(row["inferences"][0] | {"pass_rate": bad})
    assert rates(row) == before


# --- the second copy ----------------------------------------------------------------------------


def test_a_copy_has_an_id_of_its_own() -> None:
    # Published: both have the same, and results can no longer be told apart.
    ids = [row["id"] for row in prepared(SHIPPED["easy"], ROWS)[0]]
    assert len(set(ids)) == len(ids) and f"oss_0{COPY}" in ids
    theirs = [row["id"] for row in published(ROWS[:12])]
    assert len(set(theirs)) < len(theirs)


def test_a_copy_does_not_hold_the_solution() -> None:
    # Published: what precedes the first ":" at a line's end, of a function in one line all of it.
    row = ROWS[5]
    leaked = published_copies(row)[1]["question"]
    assert "max(values[: i + 1])" in leaked
    question = as_completion(row)
    assert isinstance(question, str) and "max(values[" not in question
    assert 'def running_max(values):\n    """\n    Implement' in question


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"question": "You are given a list."}, "it speaks to the reader"),
        ({"question": "Print the layout."}, "it speaks to the reader"),
        ({"question": 'Return """x""".'}, "the question cannot stand in a docstring"),
        ({"question": "Return\n```\nx\n```"}, "the question cannot stand in a docstring"),
        (
            {"test_cases": ["assert total([1]) == 1"]},
            "the function of the best completion is not the one tested",
        ),
    ],
)
def test_questions_without_a_copy(change: dict[str, Any], reason: str) -> None:
    assert as_completion(ROWS[0] | change) == NoCopy(reason)
    assert isinstance(as_completion(ROWS[0]), str)


def test_the_header_comes_from_the_best_completion_of_any_model() -> None:
    row = json.loads(json.dumps(ROWS[6]))
    assert "def decode_runs(text: str) -> str:" in as_completion(row)
    row["inferences"].append(
        {
            "completion": "\ndef decode_runs(s):\n    pass",
            "model_name": "another",
            "pass_rate": 0.9,
            "completion_id": "9",
        }
    )
    assert "def decode_runs(s):" in as_completion(row)
    assert as_completion(ROWS[10]) == NoCopy("the best completion begins with no function")


LONG = "def f(\n    x,  # first: one\n    y={1: 2},\n):"


@pytest.mark.parametrize(
    ("completion", "header"),
    [
        ("def f(x):\n    return x\n", "def f(x):"),
        ("def f(x): return x", "def f(x):"),
        (
            "def f(x: int = 1) -> dict[str, int]:  # so\n    pass",
            "def f(x: int = 1) -> dict[str, int]:",
        ),
        (
            "def f(\n    x,  # first: one\n    y={1: 2},\n):\n    pass",
            "def f(\n    x,  # first: one\n    y={1: 2},\n):",
        ),
        ("def f(x):\n    return (\n", "def f(x):"),
        ("import os\ndef f(x):\n    pass", None),
        ("def f(x", None),
        ("def :", None),
    ],
)
def test_a_header_ends_at_the_colon_before_the_body(completion: str, header: str | None) -> None:
    assert header_of(completion) == header
