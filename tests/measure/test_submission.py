"""Benchmarks by name, samples that a kill and other processes do not change, and both scorers."""

import gzip
import json
import pickle
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from launching import die_at, in_two_processes
from running import as_module, python

from diffucode.errors import PromptError, ResumeError, SandboxError, TaskError
from diffucode.execution.checks import Report
from diffucode.execution.evalplus import Score
from diffucode.execution.sandbox import Sandbox
from diffucode.files import read_jsonl, to_jsonl
from diffucode.generate.settings import GenerateConfig
from diffucode.measure import benchmarks, submission
from diffucode.measure import official as evalplus
from diffucode.measure.benchmarks import Benchmark, benchmark
from diffucode.measure.official import official
from diffucode.measure.scored import disagreements, figures, results_of, scored, strict
from diffucode.measure.submission import (
    Submission,
    complete_samples,
    details_of,
    merge,
    open_submission,
    read_samples,
    task_jobs,
    write_samples,
)
from diffucode.measure.verdict import Verdict
from diffucode.models.load import load
from diffucode.tasks.forms import BASE_STOPS, Form

DOUBLE: dict[str, Any] = {
    "task_id": "HumanEval/900",
    "prompt": 'def double(x):\n    """Twice x."""\n',
    "entry_point": "double",
    "canonical_solution": "    return 2 * x\n",
    "contract": "",
    "base_input": [[1], [2]],
    "plus_input": [[0], [-3]],
    "atol": 0,
    "test": "def check(candidate):\n    assert candidate(1) == 2\n",
}
LONGEST: dict[str, Any] = DOUBLE | {
    "task_id": "HumanEval/901",
    "prompt": 'def longest(words):\n    """The longest of words; the first of several."""\n',
    "entry_point": "longest",
    "canonical_solution": "    return max(words, key=len)\n",
    "base_input": [[["a", "bb"]]],
    "plus_input": [[["aa", "bb", "c"]]],
}
REQUEST: dict[str, Any] = DOUBLE | {
    "task_id": "Mbpp/9000",
    "prompt": '"""\nWrite a function to double a number.\nassert double(1) == 2\n"""\n',
    "canonical_solution": "\ndef double(x):\n    return 2 * x\n",
}
CANONICAL = [row["prompt"] + row["canonical_solution"] for row in (DOUBLE, LONGEST)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "two.jsonl"
    made.write_text(to_jsonl([DOUBLE, LONGEST]))
    return made


@pytest.fixture
def two(file: Path) -> Benchmark:
    return benchmark(str(file))


# --- benchmarks --------------------------------------------------------------------------------


def test_files_are_found_and_named(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (benchmarks.DATA, *benchmarks.OVERRIDES.values()):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(TaskError, match="no HumanEvalPlus"):
        benchmark("humaneval")
    with pytest.raises(TaskError, match="no MbppPlus"):
        benchmark("mbpp", data=tmp_path)
    with pytest.raises(TaskError, match="no HumanEval-RandomSpan"):
        benchmarks.find("humaneval-infilling:random-span")
    with pytest.raises(TaskError, match="diffucode infilling humaneval-infilling"):
        benchmark("humaneval-infilling")
    (tmp_path / "HumanEval-SingleLineInfilling.jsonl.gz").touch()
    assert benchmarks.find("humaneval-infilling", tmp_path).parent == tmp_path
    plain = benchmark(str(file))
    assert plain.version.startswith("md5 ") and plain.name == "two"

    packed = tmp_path / "data" / "humanevalplus" / "HumanEvalPlus.jsonl.gz"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(gzip.compress(file.read_bytes()))
    monkeypatch.setenv(benchmarks.DATA, str(tmp_path / "data"))
    found = benchmark("humaneval", first=1)
    assert [task.id for task in found.tasks] == ["HumanEval/900"] and len(found.rows()) == 1
    assert found.version == plain.version  # of the content, packed or not
    with pytest.raises(TaskError, match="expected humaneval, mbpp, minicode, or a"):
        benchmark("humanevil")
    with pytest.raises(TaskError, match="expected minicode, minicode:SPLIT or"):
        benchmark("minicode:test:one")


def test_minicode_is_a_benchmark(tmp_path: Path) -> None:
    made = benchmark("minicode:dev:3", first=2, cache=tmp_path)
    rows = made.rows()
    assert [task.id for task in made.tasks] == ["minicode/dev-3-0", "minicode/dev-3-1"]
    assert [row["task_id"] for row in rows] == [problem.id for problem in made.problems()]
    for row, problem in zip(rows, made.problems(), strict=True):
        assert [list(given) for given in problem.plus] == row["plus_input"]
        assert problem.program == row["prompt"] + row["canonical_solution"]
    assert made.cluster.keys() == {task.id for task in made.tasks}


# --- samples -----------------------------------------------------------------------------------

CONFIG = GenerateConfig(samples=2, temperature=0.8, max_new_tokens=16, batch_size=3)


def lines(folder: Path) -> list[dict[str, Any]]:
    """Details without what a clock says."""
    rows = read_jsonl(details_of(folder / submission.SAMPLES))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def opened(
    folder: Path,
    of: Benchmark,
    config: GenerateConfig = CONFIG,
    *,
    form: Form = "diffucoder",
    traces: bool = False,
) -> Submission:
    return open_submission(folder, of, config, form=form, extractor="evalplus", traces=traces)


def test_samples_do_not_depend_on_kills_and_processes(two: Benchmark, tmp_path: Path) -> None:
    loaded = load("mini")
    whole = opened(tmp_path / "whole", two, traces=True)
    write_samples(whole, loaded, CONFIG)
    merge(whole, loaded)
    assert [row["task_id"] for row in lines(whole.folder)] == ["HumanEval/900"] * 2 + [
        "HumanEval/901"
    ] * 2
    for row, (task, solution) in zip(lines(whole.folder), read_samples(whole.file), strict=True):
        assert (row["task_id"], row["sanitized"]) == (task, solution)
    traces = json.loads((whole.folder / "samples.traces.json").read_text())["traces"]
    assert len(traces) == 4 and not list(whole.folder.glob("part-*"))

    shards = opened(tmp_path / "shards", two)
    for rank in (0, 1):
        write_samples(shards, loaded, CONFIG, rank=rank, world=2)
    kept, _lost = read_jsonl(shards.part(0))
    shards.part(0).write_text(to_jsonl([kept]) + '{"task_id": "Hum')  # killed while it wrote
    with pytest.raises(TaskError, match="1 samples are missing"):
        merge(shards, loaded)
    write_samples(shards, loaded, replace(CONFIG, batch_size=1))
    merge(shards, loaded)
    assert lines(shards.folder) == lines(whole.folder)
    assert shards.file.read_bytes() == whole.file.read_bytes()
    merge(whole, loaded)  # the same command again
    assert shards.file.read_bytes() == whole.file.read_bytes()
    with pytest.raises(ResumeError, match="temperature"):
        opened(shards.folder, two, replace(CONFIG, temperature=0.5))
    with pytest.raises(ResumeError, match="form"):
        opened(shards.folder, two, form="evalplus")


@pytest.mark.parametrize("model", ["mini", "mini-ar"])
def test_a_sample_is_a_function_of_seed_task_and_number(
    model: str, file: Path, two: Benchmark, tmp_path: Path
) -> None:
    """Other tasks, other samples and the batch change nothing; another seed does."""
    loaded, hot = (
        load(model),
        replace(CONFIG, temperature=2.0),
    )  # so hot that chance repeats nothing

    def written(name: str, of: Benchmark, config: GenerateConfig) -> dict[tuple[str, int], str]:
        made = opened(tmp_path / name, of, config)
        write_samples(made, loaded, config)
        return {(row["task_id"], row["sample"]): row["raw"] for row in made.rows().values()}

    both = written("both", two, hot)
    turned = tmp_path / "turned.jsonl"
    turned.write_text(to_jsonl([LONGEST, REQUEST]))
    alone = written("alone", benchmark(str(turned)), replace(hot, samples=3, batch_size=1))
    for n in (0, 1):
        assert alone["HumanEval/901", n] == both["HumanEval/901", n]
    assert both["HumanEval/901", 0] != both["HumanEval/901", 1]
    mixed = task_jobs(loaded, benchmark(str(turned)).tasks, "diffucoder", hot)
    assert {job.request.id: job.stops for job in mixed} == {
        "HumanEval/901": BASE_STOPS["humaneval"],
        "Mbpp/9000": BASE_STOPS["mbpp"],
    }
    seeded = written("seeded", two, replace(hot, seed=1))
    assert all(seeded[key] != both[key] for key in both)


def test_a_killed_run_goes_on_in_two_processes(file: Path, tmp_path: Path) -> None:
    """SIGKILL in mid-file, then another number of processes."""
    script, job = "eval/generate_samples.py", "answer"
    Samples = as_module(script).Samples
    config = replace(CONFIG, samples=3, max_new_tokens=8, batch_size=1)

    def asked(name: str) -> Any:
        return Samples(output_dir=str(tmp_path / name), dataset=str(file), generate=config)

    as_module(script).answer(asked("whole"))
    broken = tmp_path / "broken"
    die_at(("open", r"part-0\.jsonl a", 3), script, asked("broken"), job)
    assert len(read_jsonl(broken / "part-0.jsonl")) == 2 and not (broken / "samples.jsonl").exists()
    in_two_processes(script, asked("broken"), job)
    for name in ("samples.jsonl", "run.json"):
        assert (broken / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert lines(broken) == lines(tmp_path / "whole")


def test_a_task_over_the_limit_is_no_benchmark(two: Benchmark, tmp_path: Path) -> None:
    config = replace(CONFIG, max_new_tokens=100_000)
    with pytest.raises(PromptError, match="2 tasks do not fit mini, the first is HumanEval/900"):
        write_samples(opened(tmp_path / "run", two, config), load("mini"), config)


def test_the_script_and_the_score_of_what_it_wrote(file: Path, tmp_path: Path) -> None:
    config = tmp_path / "samples.yaml"
    config.write_text(
        f"output_dir: {tmp_path / 'run'}\ndataset: {file}\n"
        "generate: {samples: 2, temperature: 0.8, max_new_tokens: 16}\n"
    )
    python("eval/generate_samples.py", "--config", config)
    assert len(lines(tmp_path / "run")) == 4
    out, _ = python("-m", "diffucode.cli", "score", tmp_path / "run" / "samples.jsonl", "--json")
    found = json.loads(out)
    assert found["tasks"] == 2 and found["plus"]["pass@2"]["n"] == 2
    assert found["base"]["pass@1"]["value"] >= found["plus"]["pass@1"]["value"]
    assert found["seconds"]["strict"] > 0


# --- scores ------------------------------------------------------------------------------------


def programs(*solutions: str) -> dict[str, list[str]]:
    return dict(zip(("HumanEval/900", "HumanEval/901"), ([s] for s in solutions), strict=True))


def test_completeness_comes_first(two: Benchmark) -> None:
    one, other = CANONICAL
    whole = [("HumanEval/900", one), ("HumanEval/901", other)]
    assert complete_samples(whole, two, "s") == programs(one, other)
    with pytest.raises(TaskError, match="no sample of 1 of 2 tasks, the first is HumanEval/901"):
        complete_samples(whole[:1], two, "s")
    assert complete_samples(whole[:1], two, "s", partial=True) == {"HumanEval/900": [one]}
    with pytest.raises(TaskError, match="'HumanEval/7', which is not among"):
        complete_samples([*whole, ("HumanEval/7", one)], two, "s")
    with pytest.raises(TaskError, match="1 samples of HumanEval/901, 2 of others"):
        complete_samples([*whole, ("HumanEval/900", one)], two, "s")
    assert complete_samples([*whole, ("HumanEval/900", other)], two, "s", partial=True) == {
        "HumanEval/900": [one, other],
        "HumanEval/901": [other],
    }


def test_samples_are_read_in_every_layout_of_evalplus(tmp_path: Path) -> None:
    solutions = [
        ("HumanEval/900", DOUBLE["prompt"] + "    return 1\n"),
        ("HumanEval/900", CANONICAL[0]),
    ]
    completions = tmp_path / "completions.jsonl"
    rows = ("    return 1\n", DOUBLE["canonical_solution"])
    completions.write_text(
        to_jsonl({"task_id": "HumanEval/900", "completion": row} for row in rows)
    )
    assert list(read_samples(completions, {"HumanEval/900": DOUBLE["prompt"]})) == solutions
    folder = tmp_path / "zipped"
    with pytest.raises(TaskError, match="no such file"):
        list(read_samples(folder))
    (folder / "HumanEval_900").mkdir(parents=True)
    with pytest.raises(TaskError, match="expected samples as HumanEval_0"):
        list(read_samples(folder))
    for n, (_, solution) in zip((2, 10), solutions, strict=True):
        (folder / "HumanEval_900" / f"{n}.py").write_text(solution)
    assert list(read_samples(folder)) == solutions


def test_both_scorers_know_right_from_wrong(two: Benchmark, tmp_path: Path) -> None:
    right, last = CANONICAL
    last = last.replace("max(words, key=len)", "sorted(words, key=len)[-1]")  # fails plus alone
    given = {
        "HumanEval/900": [right, "", "def double(x): return x"],
        "HumanEval/901": [last, right, "def longest(words): raise SystemExit(0)"],
    }
    expected = [(True, True), (False, False), (False, False)]
    expected += [(True, False), (False, False), (False, False)]
    with Sandbox(tier="strongest") as sandbox:
        ours = strict(sandbox, two, given, tmp_path / "answers")
    theirs = official(two.rows(), given, family="humaneval", cache=tmp_path / "official")
    for found in (ours, theirs):
        assert [(one.base, one.plus) for one in found] == expected
        assert [one.sample for one in found] == [0, 1, 2] * 2
    assert disagreements(ours, theirs) == []
    lenient = [replace(one, plus=True, base=True) for one in theirs]
    assert [ours.sample for ours, _ in disagreements(ours, lenient)] == [1, 2, 0, 1, 2]


def test_a_file_is_scored(two: Benchmark, tmp_path: Path) -> None:
    samples = tmp_path / "samples.jsonl"
    rows = [
        {"task_id": task, "solution": code}
        for task, one in programs(*CANONICAL).items()
        for code in (*one, "")
    ]
    samples.write_text(to_jsonl(rows))
    found = scored(samples, two, cache=tmp_path)
    plus = found.to_json()["plus"]
    assert (plus["pass@1"]["value"], plus["pass@2"]["value"], plus["solved"]) == (0.5, 1.0, 2)
    written = read_jsonl(results_of(samples))
    assert [row["plus"] for row in written] == [True, False, True, False]
    with pytest.raises(TaskError, match="pass@3 of 2 samples"):
        scored(samples, two, ks=[3], cache=tmp_path)


def test_no_verdict_is_no_zero(two: Benchmark) -> None:
    first, second = "HumanEval/900", "HumanEval/901"
    verdicts = [
        Verdict(first, 0, True, True),
        Verdict(first, 1, None, None),
        Verdict(second, 0, True, False),
        Verdict(second, 1, True, False),
    ]
    found = figures(verdicts, two, "plus", [1, 2])
    one, pair = found.passed[1], found.passed[2]
    assert one is not None and pair is not None
    assert (one.value, one.n, found.solved, found.unknown) == (0.5, 2, 1, 1)
    assert (pair.value, pair.n) == (0.0, 1)  # of the task that has two
    lost = figures(verdicts[:2], two, "plus", [2])
    assert lost.passed == {2: None} and lost.to_json()["pass@2"] is None


def test_a_sandbox_that_fails_is_told_apart(
    two: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the sandbox's report to the file: null, and counted."""
    whole = Report(("passed",), None, gameable=False, seconds=0.1, stdout=b"")
    broken = [
        Score("HumanEval/900", 0, replace(whole, results=(), infrastructure="it is gone"), whole),
        Score("HumanEval/901", 0, whole, replace(whole, results=("failed",))),
    ]
    monkeypatch.setattr("diffucode.measure.scored.score", lambda *_: iter(broken))
    samples = tmp_path / "samples.jsonl"
    rows = [{"task_id": task, "solution": code} for task, (code,) in programs(*CANONICAL).items()]
    samples.write_text(to_jsonl(rows))
    found = scored(samples, two, cache=tmp_path).to_json()
    assert found["base"]["unknown"] == 1 and found["base"]["pass@1"]["value"] == 1.0
    written = read_jsonl(results_of(samples))
    assert [(row["base"], row["plus"]) for row in written] == [(None, None), (True, False)]
    assert written[0]["why"] == "infrastructure: it is gone"


PROBE = """import os, socket
def double(x):
    try:
        socket.create_connection(("127.0.0.1", {port}), 2)
    except OSError:
        pass
    else:
        return "network"
    if os.path.exists({secret!r}) or "DIFFUCODE_SECRET" in os.environ:
        return "files"
    return 2 * x
"""


@pytest.mark.skipif(evalplus.isolation() == "none", reason="no bubblewrap works here")
def test_the_official_evaluator_is_confined(
    two: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its programs see no network, no file of ours and no environment; its answers are computed once."""
    cache, secret = tmp_path / "official", tmp_path / "secret"
    secret.write_text("a key")
    monkeypatch.setenv("DIFFUCODE_SECRET", "a key")
    monkeypatch.setenv("EVALPLUS_TIMEOUT_PER_TASK", "10")  # a TypeError in version 0.3.1
    with socket.create_server(("127.0.0.1", 0)) as server:
        probe = PROBE.format(port=server.getsockname()[1], secret=str(secret))
        given = {"HumanEval/900": [probe]}
        (one,) = official(two.rows()[:1], given, family="humaneval", cache=cache)
    assert (one.base, one.plus) == (True, True)
    (kept,) = cache.iterdir()
    kept.write_bytes(pickle.dumps({"HumanEval/900": truth(0, 0)}))
    (one,) = official(two.rows()[:1], given, family="humaneval", cache=cache)
    assert not one.base, "it reads what is kept"


def truth(*values: int) -> dict[str, Any]:
    """EvalPlus' ground truth of a task whose answers, base and plus, are these."""
    seconds = [0.01] * len(values)
    answers = list(values)
    return {"base": answers, "plus": answers, "base_time": seconds, "plus_time": seconds}


def test_no_isolation_is_refused(
    two: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evalplus, "_bubblewrap", lambda: None)
    with pytest.raises(SandboxError, match="--unsafe"):
        official(two.rows(), programs(*CANONICAL), family="humaneval", cache=tmp_path)


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    _, error = python("-m", "diffucode.cli", "score", tmp_path / "none.jsonl", code=2)
    assert error.count("\n") == 1 and "--dataset" in error
    torn = tmp_path / "torn.jsonl"
    torn.write_text('{"task_id": "HumanEval/900", "program": "return 1"}\n')
    with pytest.raises(TaskError, match="the fields task_id, program"):
        list(read_samples(torn))
