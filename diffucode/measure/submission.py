"""A model's answers to a benchmark, as EvalPlus takes them, beside all that is known of each.

    FOLDER/run.json                 what was asked: settings, benchmark, seed
    FOLDER/samples.jsonl            {"task_id", "solution"}, a sample a line
    FOLDER/samples.details.jsonl    the same order: raw text, both programs, seed, temperatures, cost
    FOLDER/samples.traces.json      how each canvas was filled, if asked for

    jobs ──> stream ──> FOLDER/part-RANK.jsonl, a line as a sample ends ──> merged in the order of tasks

A sample is a function of (seed, task, n), so a killed run goes on with what is missing, on any number of
processes, to the same files.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from diffucode import config as configs
from diffucode.decoding.trace import Trace
from diffucode.errors import PromptError, TaskError
from diffucode.files import append_jsonl, read_jsonl, to_jsonl, write_atomic
from diffucode.generate.model import decoder_of
from diffucode.generate.prompted import Prompt, prepare
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import Completion, stream
from diffucode.generate.traces import TraceFile
from diffucode.measure.benchmarks import Benchmark
from diffucode.models.load import Loaded
from diffucode.progress import Progress, silent
from diffucode.runs import open_run

Extractor = Literal["diffucode", "evalplus"]
"""Who reads the program out of the text: ``tasks.extract``, or EvalPlus' sanitiser on prompt and text."""
SAMPLES = "samples.jsonl"
EVERY = 16
"""Samples between two appends to a file."""


class Key(NamedTuple):
    task: str
    sample: int


@dataclass(frozen=True)
class Submission:
    """Where the files of a run lie, and what it is of."""

    folder: Path
    benchmark: Benchmark
    samples: int
    """Of each task."""
    traces: bool = False

    @property
    def file(self) -> Path:
        return self.folder / SAMPLES

    def order(self) -> list[Key]:
        """All samples, in the order of the files."""
        return [Key(task.id, n) for task in self.benchmark.tasks for n in range(self.samples)]

    def rows(self) -> dict[Key, dict[str, Any]]:
        """What any process has written, merged or not."""
        parts = sorted(self.folder.glob("part-*.jsonl"))
        found = [row for file in (details_of(self.file), *parts) for row in read_jsonl(file)]
        return {Key(row["task_id"], row["sample"]): row for row in found}

    def part(self, rank: int) -> Path:
        return self.folder / f"part-{rank}.jsonl"


def open_submission(
    folder: Path,
    benchmark: Benchmark,
    config: GenerateConfig,
    *,
    extractor: Extractor,
    traces: bool,
) -> Submission:
    """Start a run, or continue the one in ``folder``. Raises ResumeError where that is another's."""
    unimportant = {"batch_size": None, "device": None}  # they change no sample
    asked = {
        **benchmark.to_json(),
        "generate": configs.dump(config) | unimportant,
        "extractor": extractor,
        "traces": traces,
    }
    run = open_run(folder, asked, {"seed": config.seed})
    return Submission(run.folder, benchmark, config.samples, traces)


def asked_of(samples: Path) -> dict[str, Any]:
    """``dataset`` and ``first`` of the run that a samples file lies in; nothing where it lies in none."""
    try:
        asked = json.loads((samples.parent / "run.json").read_text(encoding="utf-8"))["config"]
        return {"dataset": asked["asked"], "first": asked["tasks"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def details_of(samples: Path) -> Path:
    """The sidecar of a samples file."""
    return samples.with_name(samples.name.removesuffix(".jsonl") + ".details.jsonl")


def write_samples(
    submission: Submission,
    loaded: Loaded,
    config: GenerateConfig,
    *,
    extractor: Extractor = "diffucode",
    rank: int = 0,
    world: int = 1,
    progress: Progress = silent,
) -> None:
    """Write the samples that are missing of every ``world``-th task from ``rank`` on.

    Raises PromptError for a task that is over the model's limit: a benchmark without it is another one.
    """
    done = submission.rows()
    mine = submission.benchmark.tasks[rank::world]
    prepared = prepare(loaded, [Prompt(task.id, task.prompt) for task in mine], config)
    if prepared.refused:
        id, reason = prepared.refused[0]
        raise PromptError(
            f"{len(prepared.refused)} tasks do not fit {loaded.name}, the first is {id}: {reason}"
        )
    begun = {id: rendered.code for id, rendered, _, _ in prepared.kept}
    entry = {task.id: task.entry_point for task in mine}
    jobs = [job for job in prepared.jobs() if Key(job.request.id, job.request.sample) not in done]
    many, waiting = len(prepared) - len(jobs), list[dict[str, Any]]()
    decoder = decoder_of(loaded, config)
    try:
        for frame in stream(loaded, jobs, decoder=decoder, capacity=config.batch_size):
            for one in frame.completions:
                sanitized = sanitize(begun[one.id] + one.text, entry[one.id])
                row = _row(one, loaded.name, config, sanitized, extractor)
                waiting.append(row | ({"trace": one.trace.to_json()} if submission.traces else {}))
                many += 1
                progress("samples", many, len(prepared))
            if len(waiting) >= EVERY:
                append_jsonl(submission.part(rank), waiting)
                waiting.clear()
    finally:
        if waiting:
            append_jsonl(submission.part(rank), waiting)


def merge(submission: Submission, loaded: Loaded) -> None:
    """Put the files of all processes together; nothing is left of the parts. Raises TaskError where a sample
    is missing."""
    rows = submission.rows()
    if missing := [key for key in submission.order() if key not in rows]:
        raise TaskError(
            f"{submission.folder}: {len(missing)} samples are missing, the first is sample "
            f"{missing[0].sample} of {missing[0].task}; the same command goes on"
        )
    ordered = [rows[key] for key in submission.order()]
    if submission.traces:
        traces = [Trace.from_json(row["trace"]) for row in ordered if "trace" in row]
        if traces:  # else they are merged already
            terminators = loaded.denoiser.terminator_ids
            text = TraceFile.of(loaded.name, loaded.tokenizer, traces, terminators).dumps()
            write_atomic(submission.folder / "samples.traces.json", text)
    solutions = [{"task_id": row["task_id"], "solution": row["solution"]} for row in ordered]
    write_atomic(submission.file, to_jsonl(solutions))
    details = [{k: v for k, v in row.items() if k != "trace"} for row in ordered]
    write_atomic(details_of(submission.file), to_jsonl(details))
    for part in submission.folder.glob("part-*.jsonl"):
        part.unlink()


def _row(
    one: Completion, model: str, config: GenerateConfig, sanitized: str, extractor: Extractor
) -> dict[str, Any]:
    temperature = config.temperature
    return {
        "task_id": one.id,
        "sample": one.sample,
        "solution": one.program if extractor == "diffucode" else sanitized,
        "extractor": extractor,
        "raw": one.text,
        "program": one.program,
        "sanitized": sanitized,
        "model": model,
        "seed": one.seed,
        "temperature": temperature if isinstance(temperature, int | float) else temperature.kind,
        "order_temperature": config.order_temperature,
        "top_p": config.top_p,
        "finish": one.finish,
        "tokens": one.effective_tokens,
        "nfe": one.nfe,
        "seconds": one.seconds,
    }


def sanitize(code: str, entry_point: str) -> str:
    """What EvalPlus' sanitiser makes of a text."""
    from evalplus.sanitize import sanitize as sanitized

    with contextlib.redirect_stdout(io.StringIO()):
        found: str = sanitized(code, entry_point)
    return found


def read_samples(file: Path) -> Iterator[tuple[str, str]]:
    """Task and program of each line of a samples file, ours or anybody's.

    Raises TaskError for a line without ``task_id`` and ``solution`` (EvalPlus' ``completion`` needs a prompt
    put before it: ``evalplus.sanitize`` does).
    """
    if not file.is_file():
        raise TaskError(f"{file}: no such file; diffucode samples writes one")
    rows = read_jsonl(file)
    if not rows:
        raise TaskError(f"{file}: no samples in it")
    for number, row in enumerate(rows, start=1):
        task, solution = row.get("task_id"), row.get("solution")
        if not (isinstance(task, str) and isinstance(solution, str)):
            raise TaskError(
                f'{file}, line {number}: expected {{"task_id": ..., "solution": ...}}, got the fields '
                f"{', '.join(row) or 'none'}"
            )
        yield task, solution


def complete_samples(
    samples: Sequence[tuple[str, str]], benchmark: Benchmark, place: str, *, partial: bool = False
) -> dict[str, list[str]]:
    """The programs of each task, in the order of the file; completeness before anything is run.

    Raises TaskError for samples of tasks that the benchmark does not have, for tasks without samples (with
    ``partial`` they are left out), and where tasks have different numbers of samples.
    """
    known: Mapping[str, list[str]] = {task.id: [] for task in benchmark.tasks}
    for task, solution in samples:
        if task not in known:
            raise TaskError(
                f"{place}: a sample of {task!r}, which is not among the {len(known)} tasks of "
                f"{benchmark.name} ({benchmark.version})"
            )
        known[task].append(solution)
    missing = [task for task, programs in known.items() if not programs]
    if missing and not partial:
        raise TaskError(
            f"{place}: no sample of {len(missing)} of {len(known)} tasks, the first is {missing[0]}; "
            "--partial scores the others, which is no figure of the benchmark"
        )
    found = {task: programs for task, programs in known.items() if programs}
    sizes = Counter(map(len, found.values()))
    if len(sizes) > 1:
        most = sizes.most_common(1)[0][0]
        odd = next(task for task, programs in found.items() if len(programs) != most)
        raise TaskError(f"{place}: {len(found[odd])} samples of {odd}, {most} of others")
    return found
