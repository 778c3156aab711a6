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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from diffucode import config as configs
from diffucode.decoding.trace import Trace
from diffucode.errors import PromptError, TaskError
from diffucode.files import append_jsonl, read_jsonl, to_jsonl, write_atomic
from diffucode.generate.model import decoder_of
from diffucode.generate.prompted import Prompted, prepare_rendered, speaker_of
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import Completion, stream
from diffucode.generate.traces import TraceFile
from diffucode.measure.benchmarks import Benchmark, Task
from diffucode.models.load import Loaded
from diffucode.progress import Progress, silent
from diffucode.runs import open_run
from diffucode.tasks.forms import Form, asked

Extractor = Literal["diffucode", "evalplus"]
"""Who reads the program out of the text: ``tasks.extract``, or EvalPlus' sanitiser on prompt and text."""
SAMPLES = "samples.jsonl"


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
    form: Form
    extractor: Extractor
    traces: bool

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
    form: Form = "diffucoder",
    extractor: Extractor = "diffucode",
    traces: bool = False,
) -> Submission:
    """Start a run, or continue the one in ``folder``. Raises ResumeError where that is another's."""
    unimportant = {"batch_size": None, "device": None}  # they change no sample
    recorded = {
        **benchmark.to_json(),
        "generate": configs.dump(config) | unimportant,
        "form": form,
        "extractor": extractor,
        "traces": traces,
    }
    run = open_run(folder, recorded, {"seed": config.seed})
    return Submission(run.folder, benchmark, config.samples, form, extractor, traces)


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
    rank: int = 0,
    world: int = 1,
    progress: Progress = silent,
) -> None:
    """Write the samples that are missing of every ``world``-th task from ``rank`` on, each as it ends.

    Raises PromptError for a task that is over the model's limit: a benchmark without it is another one.
    """
    done = submission.rows()
    mine = {task.id: task for task in submission.benchmark.tasks[rank::world]}
    jobs = task_jobs(loaded, list(mine.values()), submission.form, config)
    missing = [job for job in jobs if Key(job.request.id, job.request.sample) not in done]
    begun = {job.request.id: job.rendered.code for job in jobs}
    many = len(jobs) - len(missing)
    decoder = decoder_of(loaded, config)
    for frame in stream(loaded, missing, decoder=decoder, capacity=config.batch_size):
        rows = []
        for one in frame.completions:
            sanitized = sanitize(begun[one.id] + one.text, mine[one.id].entry_point)
            row = _row(one, loaded.name, config, sanitized, submission.extractor)
            rows.append(row | ({"trace": one.trace.to_json()} if submission.traces else {}))
        if rows:
            append_jsonl(submission.part(rank), rows)
            many += len(rows)
            progress("samples", many, len(jobs))


def task_jobs(
    loaded: Loaded, tasks: Sequence[Task], form: Form, config: GenerateConfig
) -> list[Prompted]:
    """Every sample of the tasks, asked in a form's words; its stop strings join those of the config.

    Raises PromptError for a task that is over the model's limit, and for a style that does not fit the form.
    """
    speaker, style, system = speaker_of(loaded), config.prompt_style, config.system
    shown = {
        task.id: asked(speaker, task.id, task.prompt, form, style=style, system=system)
        for task in tasks
    }
    rendered = [(id, one.rendered) for id, one in shown.items()]
    prepared = prepare_rendered(loaded, rendered, config, loaded.usual.canvas)
    if prepared.refused:
        id, reason = prepared.refused[0]
        raise PromptError(
            f"{len(prepared.refused)} tasks do not fit {loaded.name}, the first is {id}: {reason}"
        )
    return [
        replace(job, stops=(*job.stops, *shown[job.request.id].stops)) for job in prepared.jobs()
    ]


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


def read_samples(
    place: Path, prompts: Mapping[str, str] | None = None
) -> Iterator[tuple[str, str]]:
    """Task and program of each sample, in every layout that EvalPlus reads.

    A file with ``task_id`` and ``solution`` a line; or ``completion``, which goes on from the task's prompt
    in ``prompts``; or a folder of ``HumanEval_0/0.py``. Raises TaskError for anything else.
    """
    if place.is_dir():
        yield from _from_folder(place)
        return
    if not place.is_file():
        raise TaskError(f"{place}: no such file; diffucode samples writes one")
    rows = read_jsonl(place)
    if not rows:
        raise TaskError(f"{place}: no samples in it")
    for number, row in enumerate(rows, start=1):
        task, solution = row.get("task_id"), row.get("solution")
        if solution is None and isinstance(completion := row.get("completion"), str):
            # A task that is not known is refused by its name, whatever it begins with.
            solution = (prompts or {}).get(str(task), "") + completion
        if not (isinstance(task, str) and isinstance(solution, str)):
            raise TaskError(
                f'{place}, line {number}: expected {{"task_id": ..., "solution": ...}}, or "completion", '
                f"got the fields {', '.join(row) or 'none'}"
            )
        yield task, solution


def _from_folder(folder: Path) -> Iterator[tuple[str, str]]:
    files = [file for file in folder.glob("*/*.py") if file.stem.isdecimal()]
    if not files:
        raise TaskError(f"{folder}: expected samples as HumanEval_0/0.py; there are none")
    for file in sorted(files, key=lambda file: (file.parent.name, int(file.stem))):
        yield file.parent.name.replace("_", "/", 1), file.read_text(encoding="utf-8")


def complete_samples(
    samples: Sequence[tuple[str, str]], benchmark: Benchmark, place: str, *, partial: bool = False
) -> dict[str, list[str]]:
    """The programs of each task, in the order of the file; completeness before anything is run.

    Raises TaskError for samples of tasks that the benchmark does not have; unless ``partial``, also for tasks
    without samples and where tasks have different numbers of them.
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
    if len(sizes) > 1 and not partial:
        most = sizes.most_common(1)[0][0]
        odd = next(task for task, programs in found.items() if len(programs) != most)
        raise TaskError(
            f"{place}: {len(found[odd])} samples of {odd}, {most} of others; is a task there twice, or a run "
            "cut short? --partial scores it as it is"
        )
    return found
