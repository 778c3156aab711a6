"""Benchmarks by name, samples that a kill and other processes do not change, and both scorers."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from running import python

from diffucode.errors import ResumeError, TaskError
from diffucode.execution.sandbox import Sandbox
from diffucode.files import read_jsonl, to_jsonl
from diffucode.generate.settings import GenerateConfig
from diffucode.measure import benchmarks, submission
from diffucode.measure.benchmarks import Benchmark, benchmark
from diffucode.measure.official import official
from diffucode.measure.scored import disagreements, figures, results_of, scored, strict
from diffucode.measure.submission import (
    complete_samples,
    details_of,
    merge,
    open_submission,
    read_samples,
    write_samples,
)
from diffucode.measure.verdict import Verdict
from diffucode.models.load import load

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


def test_samples_do_not_depend_on_kills_and_processes(two: Benchmark, tmp_path: Path) -> None:
    loaded = load("mini")

    def opened(name: str, config: GenerateConfig = CONFIG) -> submission.Submission:
        return open_submission(
            tmp_path / name, two, config, extractor="evalplus", traces=name == "whole"
        )

    whole = opened("whole")
    write_samples(whole, loaded, CONFIG, extractor="evalplus")
    merge(whole, loaded)
    assert [row["task_id"] for row in lines(whole.folder)] == ["HumanEval/900"] * 2 + [
        "HumanEval/901"
    ] * 2
    for row, (task, solution) in zip(lines(whole.folder), read_samples(whole.file), strict=True):
        assert (row["task_id"], row["sanitized"]) == (task, solution)
    traces = json.loads((whole.folder / "samples.traces.json").read_text())["traces"]
    assert len(traces) == 4 and not list(whole.folder.glob("part-*"))

    shards = opened("shards")
    for rank in (0, 1):
        write_samples(shards, loaded, CONFIG, extractor="evalplus", rank=rank, world=2)
    kept, _lost = read_jsonl(shards.part(0))
    shards.part(0).write_text(to_jsonl([kept]) + '{"task_id": "Hum')  # killed while it wrote
    with pytest.raises(TaskError, match="1 samples are missing"):
        merge(shards, loaded)
    write_samples(shards, loaded, replace(CONFIG, batch_size=1), extractor="evalplus")
    merge(shards, loaded)
    assert lines(shards.folder) == lines(whole.folder)
    assert shards.file.read_bytes() == whole.file.read_bytes()
    merge(whole, loaded)  # the same command again
    assert shards.file.read_bytes() == whole.file.read_bytes()
    with pytest.raises(ResumeError, match="temperature"):
        opened("shards", replace(CONFIG, temperature=0.5))


def test_processes_share_the_tasks(file: Path, tmp_path: Path) -> None:
    """The script on one process; ranks are tested above."""
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
    ]
    found = figures(verdicts, two, "plus", [1])
    assert found.passed[1].value == 0.5 and (found.solved, found.unknown) == (1, 1)
    assert figures(verdicts, two, "base", [1]).passed[1].value == 1.0


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    _, error = python("-m", "diffucode.cli", "score", tmp_path / "none.jsonl", code=2)
    assert error.count("\n") == 1 and "--dataset" in error
    torn = tmp_path / "torn.jsonl"
    torn.write_text('{"task_id": "HumanEval/900", "completion": "return 1"}\n')
    with pytest.raises(TaskError, match="the fields task_id, completion"):
        list(read_samples(torn))
