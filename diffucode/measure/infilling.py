"""How well a model fills holes: exact match and pass@1, with known and unknown lengths of holes.

::

    known      each hole is as long as what stood in it, in the model's tokens
    unknown    hole after hole, from left to right, the others as they are: of all LENGTHS, filled in one
               step, the FINALISTS likeliest per token are filled in earnest, and the likeliest of
               these stays; where every hole is a line, a filling of one line goes before any other.
               A hole at the end of the file has the longest length, and ends with a terminator
    rest       the first hole and all behind it are written anew, as ``diffucode generate`` would

A diffusion model sees the whole file, holes apart. An AR model sees what stands to the left: ``known``
lets it write as many tokens as stood there, ``unknown`` until the line ends (which suits holes that are
lines and no others), then the given text is put behind it. It has no form of prompt that shows it what
follows: the bundled ones were trained on none. ``rest`` is what either can do without what follows.

Likelihood per token is the mean of ln p at commit, of the unedited model, over all holes (Open-dLLM's
HumanEval infilling falls from 77 to 32 % where the length is not known; DreamOn and DAEDAL grow holes,
the first with a model trained for it).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from diffucode.decoding.engine import Finished
from diffucode.decoding.plan import Request
from diffucode.errors import PromptError
from diffucode.execution.checks import Submission, check
from diffucode.execution.sandbox import Sandbox
from diffucode.generate.infill import Holes, encode_exactly, prepare_holes
from diffucode.generate.job import Answer, Job, before_any
from diffucode.generate.model import decoder_of
from diffucode.generate.prompted import Prompt, prepare
from diffucode.generate.settings import GenerateConfig, edits, plan
from diffucode.generate.stream import Completion, stream
from diffucode.generate.tokenizer import Tokenizer, text_of
from diffucode.measure.infill_tasks import Gapped, is_line
from diffucode.metrics.passk import Estimate, clustered_share
from diffucode.models.load import Loaded
from diffucode.progress import Progress, silent
from diffucode.sampling.edits import Ban
from diffucode.tasks.extract import parses

Way = Literal["known", "unknown", "rest"]
WAYS: tuple[Way, ...] = ("known", "unknown", "rest")
LENGTHS = (*range(1, 17), 20, 24, 32)
"""Tokens of a hole that are tried where its length is not known."""
FINALISTS = 3
FIRST_LENGTH = 8
"""Of the holes that were not tried yet."""


class Filled(NamedTuple):
    """What a model made of one row."""

    id: str
    fills: tuple[str, ...] | None
    """None where the program was written on from the first hole."""
    program: str


class Score(NamedTuple):
    """One model, one way."""

    model: str
    way: Way
    rows: int
    failed: int
    """Rows that the sandbox could not run; not in ``passed``."""
    exact: Estimate | None
    """Every hole filled with what stood in it, blanks at line ends apart; None for ``rest``."""
    passed: Estimate | None
    """The filled program passes every test; None where none could be run."""

    def to_json(self) -> dict[str, Any]:
        """A JSON value."""
        return {
            **self._asdict(),
            "exact": self.exact and self.exact.to_json(),
            "passed": self.passed and self.passed.to_json(),
        }


def fitting(loaded: Loaded, rows: Sequence[Gapped]) -> list[Gapped]:
    """The rows that the model can be given: spelled by its tokenizer and with room for every way."""
    config = GenerateConfig(max_new_tokens=1)
    kept = []
    for row in rows:
        most = [max(n, *LENGTHS) for n in token_counts(loaded, row)]
        try:
            prepare_holes(loaded, row.id, Holes(row.given, tuple(most)), config)
        except PromptError:
            continue
        kept.append(row)
    return kept


def token_counts(loaded: Loaded, row: Gapped) -> tuple[int, ...]:
    """How many tokens stood in each hole."""
    return tuple(
        len(loaded.tokenizer.encode(answer, add_special_tokens=False)) for answer in row.answers
    )


def fill(
    loaded: Loaded,
    rows: Sequence[Gapped],
    way: Way,
    config: GenerateConfig,
    progress: Progress = silent,
) -> list[Filled]:
    """Fill every row once. Raises PromptError for a row that does not fit the model (see ``fitting``)."""
    if way == "rest":
        return _write_on(loaded, rows, config)
    if loaded.denoiser.causal:
        return _from_the_left(loaded, rows, way == "known", config, progress)
    if way == "known":
        lengths = {row.id: token_counts(loaded, row) for row in rows}
        found = _infilled(loaded, [(row, row.id, lengths[row.id]) for row in rows], config)
        return [Filled(row.id, found[row.id].fills, found[row.id].program) for row in rows]
    return _searched(loaded, rows, config, progress)


def score(
    sandbox: Sandbox,
    model: str,
    way: Way,
    rows: Sequence[Gapped],
    filled: Sequence[Filled],
    seed: int = 0,
) -> Score:
    """Exact match, and what the sandbox says. Raises ValueError for no rows."""
    clusters = [row.cluster for row in rows]
    pairs = list(zip(rows, filled, strict=True))
    exact = [one.fills is not None and _alike(one.fills, row.answers) for row, one in pairs]
    verdicts = _passed(sandbox, rows, [one.program for one in filled])
    judged = [
        (row.cluster, one) for row, one in zip(rows, verdicts, strict=True) if one is not None
    ]
    return Score(
        model=model,
        way=way,
        rows=len(rows),
        failed=len(rows) - len(judged),
        exact=None if way == "rest" else clustered_share(exact, clusters, seed),
        passed=clustered_share([one for _, one in judged], [c for c, _ in judged], seed)
        if judged
        else None,
    )


def sound(sandbox: Sandbox, rows: Sequence[Gapped]) -> list[Gapped]:
    """The rows whose own program passes its tests: of the others, nothing can be said."""
    verdicts = _passed(sandbox, rows, [row.filled(row.answers) for row in rows])
    return [row for row, passed in zip(rows, verdicts, strict=True) if passed]


def _passed(sandbox: Sandbox, rows: Sequence[Gapped], programs: Sequence[str]) -> list[bool | None]:
    """Whether every test passes; None where the sandbox could not do its work."""
    run = [number for number, program in enumerate(programs) if parses(program)]
    asked = [Submission(programs[n], rows[n].entry_point, rows[n].tests) for n in run]
    found: list[bool | None] = [False] * len(rows)
    for number, report in zip(run, check(sandbox, asked, fail_fast=True), strict=True):
        found[number] = None if report.infrastructure is not None else report.passed
    return found


def _alike(fills: Sequence[str], answers: Sequence[str]) -> bool:
    """Letter for letter, but for blanks at the ends of lines and of the hole."""

    def bare(text: str) -> list[str]:
        return [line.rstrip() for line in text.rstrip().split("\n")]

    return all(bare(fill) == bare(answer) for fill, answer in zip(fills, answers, strict=True))


# --- diffusion: both sides are seen -------------------------------------------------------------


class _Infilled(NamedTuple):
    fills: tuple[str, ...]
    program: str
    rank: tuple[bool, float]
    """Whether it fits as far as that can be known (a hole that is a line is filled with one); then the
    mean ln p of the tokens at commit."""


def _infilled(
    loaded: Loaded, asked: Iterable[tuple[Gapped, str, tuple[int, ...]]], config: GenerateConfig
) -> dict[str, _Infilled]:
    """Rows with lengths for their holes, by the names given to these."""
    jobs, given = [], {}
    for row, name, lengths in asked:
        jobs += prepare_holes(loaded, name, Holes(row.given, lengths), config)
        given[name] = row
    found = {}
    for done in _decoded(loaded, jobs, config):
        row = given[done.id]
        fills = _fills(loaded, done, len(row.answers))
        fits = not row.whole_lines or all(map(is_line, fills))
        found[done.id] = _Infilled(fills, done.program, (fits, _likelihood(done)))
    return found


def _fills(loaded: Loaded, done: Completion, holes: int) -> tuple[str, ...]:
    opened = np.flatnonzero(~done.trace.given)
    spans = np.split(opened, np.flatnonzero(np.diff(opened) > 1) + 1)
    assert len(spans) == holes, "given text stands between any two holes"
    ends = loaded.denoiser.terminator_ids
    written = (done.trace.token[span[done.trace.step[span] >= 0]] for span in spans)
    return tuple(text_of(loaded.tokenizer, before_any(tokens, ends)) for tokens in written)


def _likelihood(done: Completion) -> float:
    return float(done.trace.raw_logprob[done.trace.step >= 0].mean())


def _searched(
    loaded: Loaded, rows: Sequence[Gapped], config: GenerateConfig, progress: Progress
) -> list[Filled]:
    at_once = replace(config, steps=1, schedule=None)
    chosen = {row.id: _before_any_is_tried(row) for row in rows}
    best: dict[str, _Infilled] = {}
    stages = max((len(row.answers) for row in rows), default=0)
    for hole in range(stages):
        waiting = [row for row in rows if hole < len(row.answers)]
        options = {
            row.id: [
                (*chosen[row.id][:hole], n, *chosen[row.id][hole + 1 :])
                for n in (LENGTHS[-1:] if _at_the_end(row, hole) else LENGTHS)
            ]
            for row in waiting
        }
        guessed = _options(loaded, waiting, options, at_once)
        options = {
            id: sorted(found, key=lambda these: found[these].rank, reverse=True)[:FINALISTS]
            for id, found in guessed.items()
        }
        for id, found in _options(loaded, waiting, options, config).items():
            chosen[id] = max(found, key=lambda these: found[these].rank)
            best[id] = found[chosen[id]]
        progress("holes", hole + 1, stages)
    return [Filled(row.id, best[row.id].fills, best[row.id].program) for row in rows]


def _before_any_is_tried(row: Gapped) -> tuple[int, ...]:
    holes = range(len(row.answers))
    return tuple(LENGTHS[-1] if _at_the_end(row, hole) else FIRST_LENGTH for hole in holes)


def _at_the_end(row: Gapped, hole: int) -> bool:
    """Whether the file ends with this hole, which may then end early (see ``generate.infill``)."""
    return hole == len(row.answers) - 1 and not row.given[-1].strip()


def _options(
    loaded: Loaded,
    rows: Sequence[Gapped],
    options: Mapping[str, Sequence[tuple[int, ...]]],
    config: GenerateConfig,
) -> dict[str, dict[tuple[int, ...], _Infilled]]:
    """Every row with each of its options for the lengths of its holes."""
    asked = {
        f"{row.id}#{'.'.join(map(str, these))}": (row, these)
        for row in rows
        for these in options[row.id]
    }
    found = _infilled(loaded, ((r, name, these) for name, (r, these) in asked.items()), config)
    sorted_out: dict[str, dict[tuple[int, ...], _Infilled]] = {row.id: {} for row in rows}
    for name, (row, these) in asked.items():
        sorted_out[row.id][these] = found[name]
    return sorted_out


# --- AR: what is to the left is seen ------------------------------------------------------------


@dataclass(frozen=True)
class _ToTheRight:
    """A hole's beginning is known, and nothing behind it."""

    request: Request
    whole_line: bool
    """End with the line."""

    def stopped(self, tokenizer: Tokenizer, beginning: Sequence[int]) -> bool:
        return self.whole_line and "\n" in text_of(tokenizer, beginning)

    def read(self, tokenizer: Tokenizer, finished: Finished, terminators: Sequence[int]) -> Answer:
        written = finished.tokens[finished.trace.step >= 0]
        kept = before_any(written, terminators)
        text = text_of(tokenizer, kept)
        line, end, _ = text.partition("\n")
        if self.whole_line:
            text = line + end
        return Answer(tuple(written.tolist()), len(kept), text, text, bool(end and self.whole_line))


def _from_the_left(
    loaded: Loaded, rows: Sequence[Gapped], known: bool, config: GenerateConfig, progress: Progress
) -> list[Filled]:
    tokenizer, ends = loaded.tokenizer, loaded.denoiser.terminator_ids
    changes = edits(config, tokenizer, ends)
    if known:
        changes = (*changes, Ban(ends))
    before = {row.id: encode_exactly(tokenizer, row.given[0], first=True) for row in rows}
    fills: dict[str, list[str]] = {row.id: [] for row in rows}
    stages = max((len(row.answers) for row in rows), default=0)
    for hole in range(stages):
        jobs = []
        for row in rows:
            if hole < len(row.answers):
                n = token_counts(loaded, row)[hole] if known else max(LENGTHS)
                chosen = plan(config, n, changes, loaded.usual)
                name = f"{row.id}#{hole}"
                jobs.append(
                    _ToTheRight(
                        Request.completion(name, before[row.id], n, chosen, seed=config.seed),
                        not known,
                    )
                )
        texts = {done.id: done.text for done in _decoded(loaded, jobs, config)}
        for row in rows:
            if hole < len(row.answers):
                text = texts[f"{row.id}#{hole}"]
                fills[row.id].append(text)
                before[row.id] += tokenizer.encode(text, add_special_tokens=False)
                before[row.id] += encode_exactly(tokenizer, row.given[hole + 1], first=False)
        progress("holes", hole + 1, stages)
    return [Filled(row.id, tuple(fills[row.id]), row.filled(fills[row.id])) for row in rows]


# --- what follows is not looked at ---------------------------------------------------------------


def _write_on(loaded: Loaded, rows: Sequence[Gapped], config: GenerateConfig) -> list[Filled]:
    prepared = prepare(loaded, [Prompt(row.id, row.given[0]) for row in rows], config)
    for id, reason in prepared.refused:
        raise PromptError(f"{loaded.name}: {id}: {reason}; it cannot be measured on these")
    programs = {done.id: done.program for done in _decoded(loaded, prepared.jobs(), config)}
    return [Filled(row.id, None, programs[row.id]) for row in rows]


def _decoded(loaded: Loaded, jobs: Iterable[Job], config: GenerateConfig) -> Iterator[Completion]:
    decoder = decoder_of(loaded, config)
    for frame in stream(loaded, jobs, decoder=decoder, capacity=config.batch_size):
        yield from frame.completions
