"""AceCode-87K (TIGER-Lab) as DiffuCoder's RL trains on it: hard questions, some of them asked twice.

    rows ── pass rates of two models ──> mean and deviation a question ──> the band that is kept
         ── kept questions ──> as they stand, and once more as a function to complete

A row is ``{id, source, question, test_cases, inferences: [{completion, completion_id, model_name,
pass_rate}], context_messages}``. The rates are those of ``MODELS``.

Source: apple/ml-diffucoder, recipes/process_data.py, and its paper (arXiv 2506.20639, 4.3), which do not
agree on what is hard::

                mean                              standard deviation
    shipped     at most the 20th percentile       at least the 40th percentile, both of all questions
    paper       the lowest 20 %                   the top 40 %: at least the 60th percentile

What is done otherwise here: a question without rates is left out and counted (there, one makes every
percentile NaN, and nothing is kept); the header is what stands before the body of the function (there,
what precedes the first ``:`` at a line's end: of ``def f(x): return 2 * x``, the solution); the second
copy has an id of its own; and it is made only if it is Python and its function is the one that is tested.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from diffucode.data.rows import Row
from diffucode.errors import TaskError
from diffucode.tasks.extract import parses
from diffucode.tasks.prompts import COMPLETE_REQUEST

MODELS = ("qwen_coder_2.5", "llama3_instruct")
COPY = "/complete"
"""What the id of a second copy ends in."""

Difficulty = Literal["hard", "medium", "easy"]


class Band(NamedTuple):
    """Percentiles of all questions between which a question's figures lie, both ends included."""

    mean_from: float
    mean_to: float
    deviation_from: float


SHIPPED: dict[Difficulty, Band] = {
    "hard": Band(0, 20, 40),
    "medium": Band(25, 75, 0),
    "easy": Band(75, 100, 0),
}
PAPER = Band(0, 20, 60)
"""The paper's hard questions."""


@dataclass(frozen=True)
class Cut:
    """A band in the units of the figures: pass rates from 0 to 1."""

    mean_from: float
    mean_to: float
    deviation_from: float

    @classmethod
    def of(cls, rates: Iterable[list[float]], band: Band) -> Cut:
        """The cut that a band makes in these questions. Raises TaskError when there is none."""
        figures = [_figures(one) for one in rates]
        if not figures:
            raise TaskError(f"no question has pass rates of {' or '.join(MODELS)}; nothing to cut")
        means, deviations = zip(*figures, strict=True)
        low, high = np.percentile(means, [band.mean_from, band.mean_to])
        return cls(float(low), float(high), float(np.percentile(deviations, band.deviation_from)))

    def keeps(self, rates: list[float]) -> bool:
        mean, deviation = _figures(rates)
        return self.mean_from <= mean <= self.mean_to and deviation >= self.deviation_from


def _figures(rates: list[float]) -> tuple[float, float]:
    """Mean and standard deviation (of the rates as they are, not of a larger population)."""
    return float(np.mean(rates)), float(np.std(rates))


@dataclass
class Tally:
    """What became of the rows."""

    read: int = 0
    kept: int = 0
    copies: int = 0
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Places of the rows that cannot be used, by reason."""
    no_copy: Counter[str] = field(default_factory=Counter)
    """Kept questions that stand once only, by reason."""


def prepare(
    rows: Callable[[], Iterable[Row]], band: Band, tally: Tally
) -> Iterator[dict[str, Any]]:
    """The rows of the prepared set, without their inferences; the counts go into ``tally``.

    ``rows`` is called twice, so that a table larger than the memory is read twice instead of held.
    Raises TaskError when no row has rates.
    """
    cut = Cut.of(_all_rates(rows(), tally), band)
    for row in rows():
        fields = row.fields
        if fields is None or _unusable(fields) or not cut.keeps(rates(fields)):
            continue
        tally.kept += 1
        yield {key: value for key, value in fields.items() if key != "inferences"}
        question = as_completion(fields)
        if isinstance(question, NoCopy):
            tally.no_copy[question.reason] += 1
            continue
        tally.copies += 1
        copy = {**fields, "id": f"{fields['id']}{COPY}", "question": question}
        yield {key: value for key, value in copy.items() if key != "inferences"}


def _all_rates(rows: Iterable[Row], tally: Tally) -> Iterator[list[float]]:
    for row in rows:
        tally.read += 1
        reason = "no JSON object" if row.fields is None else _unusable(row.fields)
        if reason:
            tally.left_out.setdefault(reason, []).append(row.place)
        elif row.fields is not None:
            yield rates(row.fields)


def _unusable(fields: Mapping[str, Any]) -> str | None:
    """Why a row cannot be used; None where it can."""
    if missing := [key for key in ("id", "question", "test_cases") if not fields.get(key)]:
        return f"without {missing[0]}"
    if not rates(fields):
        return f"without a pass rate of {' or '.join(MODELS)}"
    return None


def inferences(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those with a completion and a pass rate that is a number."""
    found = fields.get("inferences")
    return [
        one
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, Mapping)
        and isinstance(one.get("completion"), str)
        and isinstance(one.get("pass_rate"), int | float)
        and one["pass_rate"] == one["pass_rate"]
    ]


def rates(fields: Mapping[str, Any]) -> list[float]:
    """Pass rates of the completions by ``MODELS``."""
    return [
        float(one["pass_rate"]) for one in inferences(fields) if one.get("model_name") in MODELS
    ]


# --- the second copy ----------------------------------------------------------------------------


class NoCopy(NamedTuple):
    """Why a question cannot be asked as a function to complete."""

    reason: str


def as_completion(fields: Mapping[str, Any]) -> str | NoCopy:
    """The question as the docstring of a function to complete, in the published words.

    The header is that of the best completion by any model, the first of equals. Questions that speak to
    the reader (with "you" in them, even inside a word, as published) stay as they are.
    """
    question = str(fields["question"])
    if "you" in question.lower():
        return NoCopy("it speaks to the reader")
    best = max(inferences(fields), key=lambda one: float(one["pass_rate"]))
    header = header_of(best["completion"].strip())
    if header is None:
        return NoCopy("the best completion begins with no function")
    name = header.removeprefix("def ").partition("(")[0].strip()
    if not re.search(rf"\b{re.escape(name)}\b", json.dumps(fields["test_cases"])):
        return NoCopy("the function of the best completion is not the one tested")
    code = f'{header}\n    """\n    {question}\n    """'
    if not _is_one_docstring(code) or "```" in code:
        return NoCopy("the question cannot stand in a docstring")
    return COMPLETE_REQUEST.format(code=code)


def header_of(completion: str) -> str | None:
    """From ``def`` to its colon, of a completion that begins with a function; else None.

    The body need not be valid: lines are added to the header until it is one.
    """
    if not completion.startswith("def "):
        return None
    for end in re.finditer(r":", completion):
        header = completion[: end.end()]
        if parses(header + "\n    pass\n"):
            return header
    return None


def _is_one_docstring(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # questions hold backslashes
            body = ast.parse(code).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    match body:
        case [ast.FunctionDef(body=[ast.Expr(value=ast.Constant(value=str()))])]:
            return True
    return False
