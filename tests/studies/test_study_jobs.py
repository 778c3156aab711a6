"""Jobs: to the end, through kills, past runs that collapse; with trainings that are pretended."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from running import ROOT
from safetensors.torch import load_file, save_file
from twice import twice

from diffucode import config
from diffucode.errors import ConfigError, JobError, ResumeError
from diffucode.execution.sandbox import Sandbox
from diffucode.measure import bench as benches
from diffucode.measure import problems
from diffucode.measure.claim import claimed
from diffucode.models.load import find
from diffucode.studies.figures import Found, passed
from diffucode.studies.jobs import Workshop, chosen, costs, not_a_number, run
from diffucode.studies.plan import Study, grid_jobs, jobs
from diffucode.studies.report import report

PLAN = """
arms:
  - {name: base, role: base, how: {kind: as_it_is, model: mini}}
  - name: one
    role: primary
    base: base
    how: {kind: trained, stages: [&s {script: train/coupled_grpo.py,
      config: configs/train/coupled_grpo_mini_study.yaml, overrides: ["problems_folder=<problems>"]}]}
  - {name: other, role: primary, base: base, how: {kind: trained, stages: [*s]}}
  - {name: vote, role: control, base: base, how: {kind: voting, model: mini, samples: 3}}
seeds: {primary: [5, 6], control: [5]}
comparisons: [{arm: one, against: other}]
evaluation: {seed: 1, problems: 2, paces: [4], sampled: 1, samples: 2}
resamples: 50
"""
CHOICES = "choices={arms: [one], seeds: [0], grid: [[prompts=2], [prompts=3]], problems: 1}"
Launch = Callable[[Sequence[str], Path], int]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1, tier="strongest") as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def easy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "made", twice)


class Trainings:
    """A launcher that copies the bundled model, and notes what it was asked for."""

    def __init__(self, *, broken: dict[str, str] | None = None) -> None:
        self.asked: list[list[str]] = []
        self.broken = broken or {}

    def __call__(self, words: Sequence[str], root: Path) -> int:
        self.asked.append(list(words))
        given = dict(word.split("=", 1) for word in words[3:])
        folder = Path(given["output_dir"])
        folder.mkdir(parents=True, exist_ok=True)
        how = self.broken.get(folder.parent.name, "")
        row: dict[str, Any] = {"step": 1, "rollouts": 96, "rollout_positions": 1e4}
        row |= {"loss": None if how == "nan" else 0.1, "grad_norm": 1.0, "forward_positions": 2e4}
        log = [{"step": 0, "dev_pass": 0.5}, row, {"step": 1, "dev_pass": 0.6}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in log))
        if how in ("nan", "crash"):
            return 2
        for file in find("mini").iterdir():
            target = folder / "model" / file.name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.read_bytes())
        if how == "nan weights":
            file = folder / "model" / "model.safetensors"
            spoilt = {name: value * float("nan") for name, value in load_file(file).items()}
            save_file(spoilt, file, metadata={"format": "pt"})
        return 0

    @property
    def names(self) -> list[str]:
        found = []
        for words in self.asked:
            (folder,) = (Path(w.split("=")[1]) for w in words if w.startswith("output_dir="))
            found.append(folder.parent.name)
        return found


def workshop(folder: Path, sandbox: Sandbox, launch: Launch, *overrides: str) -> Workshop:
    plan = folder / "plan.yaml"
    folder.mkdir(exist_ok=True)
    plan.write_text(PLAN)
    study = config.load(Study, plan, overrides)
    return Workshop(study, folder / "study", folder / "problems", ROOT, sandbox, launch)


def test_a_study_is_killed_goes_on_and_counts_what_collapsed(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = Trainings(broken={"other-5": "nan", "other-6": "nan weights"})
    shop = workshop(tmp_path, sandbox, launch)
    asked, original = jobs(shop.study), benches.judge
    assert [job.name for job in asked] == [
        "base-0",
        "one-5",
        "other-5",
        "one-6",
        "other-6",
        "vote-5",
    ]
    count = 0

    def killed(*given: Any) -> Any:
        nonlocal count
        count += 1
        if count == 5:  # of three measurements a job: in the middle of one-5's
            raise KeyboardInterrupt
        return original(*given)

    with monkeypatch.context() as patched:
        patched.setattr(benches, "judge", killed)
        with pytest.raises(KeyboardInterrupt):
            list(run(shop, asked))
    assert [row.arm for row in shop.rows(asked)] == ["base"]
    assert launch.names == ["one-5"]

    early = report(shop.study, shop.rows(asked), [])
    assert "1 of 6 jobs are finished. Missing: `one` 5, 6; `other` 5, 6; `vote` 5." in early

    done = [f"{row.arm}-{row.seed}" for row in run(shop, asked)]
    assert done == ["one-5", "other-5", "one-6", "other-6", "vote-5"]
    # the interrupted one is launched again (its script goes on where it was); the base is not measured again
    assert launch.names == ["one-5", "one-5", "other-5", "one-6", "other-6"]
    assert list(run(shop, asked)) == []

    rows = {f"{row.arm}-{row.seed}": row for row in shop.rows(asked)}
    base = rows["base-0"].at("usual")
    assert base is not None and rows["one-5"].at("usual") == base
    assert rows["one-5"].cost == {"rollouts": 96, "positions": 3e4}
    assert [point["positions"] for point in rows["one-5"].curve] == [0, 3e4]
    assert rows["other-5"].collapsed == "loss is not a number at step 1"
    assert "not a number" in (rows["other-6"].collapsed or "")
    for name in ("other-5", "other-6"):
        lost = rows[name].at("usual")
        assert lost is not None and lost.columns["id"] == base.columns["id"]
        assert lost.columns["plus"] == lost.columns["valid"] == [0, 0]
        assert rows[name].at("usual", tau=1.0).columns["n"] == [2]  # type: ignore[union-attr]
    votes = rows["vote-5"].votes
    assert votes is not None and len(votes.label[0]) == len(votes.right[0]) == 3

    # collapsed runs are in the mean and in the count, and the report says so
    found = Found.of(shop.study, list(rows.values()))
    assert [len(found.rows[name]) for name in ("one", "other")] == [2, 2]
    share = found.share("other", passed("usual"))
    assert share is not None and (share.value, share.runs) == (0, 2)
    assert [found.collapsed(rows[name]) for name in rows] == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]
    text = report(shop.study, list(rows.values()), [])
    line = next(one for one in text.splitlines() if one.startswith("| `other` | primary"))
    assert line.split(" | ")[2:4] == ["2 of 2", "2"]
    assert "6 of 6 jobs are finished.\n" in text


def test_a_script_that_fails_otherwise_is_no_result(tmp_path: Path, sandbox: Sandbox) -> None:
    shop = workshop(tmp_path, sandbox, Trainings(broken={"one-5": "crash"}))
    asked = [job for job in jobs(shop.study) if job.name == "one-5"]
    with pytest.raises(JobError, match=r"one-5: train/coupled_grpo.py ended with code 2"):
        list(run(shop, asked))
    assert shop.row(asked[0]) is None


def test_another_plan_for_the_same_job_is_refused(tmp_path: Path, sandbox: Sandbox) -> None:
    shop = workshop(tmp_path, sandbox, Trainings(broken={"one-5": "crash"}))
    (job,) = (job for job in jobs(shop.study) if job.name == "one-5")
    with pytest.raises(JobError):
        list(run(shop, [job]))
    how = replace(job.arm.how, stages=(replace(job.arm.how.stages[0], overrides=("updates=9",)),))  # type: ignore
    with pytest.raises(ResumeError, match="updates=9"):
        list(run(shop, [job._replace(arm=replace(job.arm, how=how))]))


def test_a_job_is_of_one_process_at_a_time(tmp_path: Path, sandbox: Sandbox) -> None:
    launch = Trainings()
    shop = workshop(tmp_path, sandbox, launch)
    (job,) = (job for job in jobs(shop.study) if job.name == "one-5")
    with claimed(shop.of(job)) as mine:
        assert mine
        assert list(run(shop, [job])) == [] and launch.asked == []


def test_a_training_keeps_the_claim_of_a_call_that_is_killed(tmp_path: Path) -> None:
    with claimed(tmp_path / "job") as mine:
        assert mine
        waits = [sys.executable, "-Sc", "input()"]
        training = subprocess.Popen(waits, stdin=subprocess.PIPE, close_fds=False)
    with claimed(tmp_path / "job") as mine:
        assert not mine
    training.communicate(b"\n")
    with claimed(tmp_path / "job") as mine:
        assert mine


def test_the_best_point_of_the_grid_is_what_the_jobs_are_run_with(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = Trainings(broken={"one-0-grid0": "nan"})
    shop = workshop(tmp_path, sandbox, launch, CHOICES)
    (job,) = (job for job in jobs(shop.study) if job.name == "one-5")
    with pytest.raises(ConfigError, match="one-0-grid0 and 1 more"):
        list(run(shop, [job]))
    original = benches.judge
    right = lambda *given: [replace(one, plus=1) for one in original(*given) if one]  # noqa: E731
    monkeypatch.setattr(benches, "judge", right)
    assert len(list(run(shop, grid_jobs(shop.study)))) == 2
    assert chosen(shop, "one") == 1
    list(run(shop, [job]))
    assert "prompts=3" in launch.asked[-1] and "prompts=2" not in launch.asked[-1]
    text = report(shop.study, [], shop.rows(grid_jobs(shop.study)))
    assert "| `one` | prompts=3 | 100.0 | 1 | best |" in text


def test_costs_and_broken_trainings() -> None:
    logs = [[{"rollouts": 4, "rollout_positions": 10}], [{"forward_positions": 5}, {"step": 2}]]
    assert costs(logs) == {"rollouts": 4, "positions": 15}
    assert not_a_number([{"step": 1, "loss": 0.5, "grad_norm": 1.0}]) is None
    assert not_a_number([{"step": 1, "loss": 0.5, "grad_norm": float("inf")}])
    broken = [{"step": 1, "loss": None, "grad_norm": 1.0}, {"step": 1, "dev_pass": 0.0}]
    assert not_a_number(broken) == "loss is not a number at step 1"
    assert not_a_number([]) is None
