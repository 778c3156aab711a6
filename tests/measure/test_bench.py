"""Measuring a model: resumption, sizes, refusals. Figures are checked in tests/metrics."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twice import HEAD, RIGHT, twice

from diffucode.decoding.trace import blank
from diffucode.errors import ConfigError, PromptError, ResumeError, SandboxError
from diffucode.execution.sandbox import Sandbox
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import Completion
from diffucode.measure import bench as benches
from diffucode.measure import problems
from diffucode.measure.bench import AR, Bench, Pace
from diffucode.measure.samples import complete, programs
from diffucode.measure.settings import QUICK, Settings
from diffucode.models.families.spec import Usual
from diffucode.models.load import find, load
from diffucode.tasks.problem import Problem

SEVEN = Pace("quota", 7, 0)


@pytest.fixture
def bench(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(problems, "made", twice)
    return Bench.of(find("mini"), "mini", tmp_path, Settings(), sandbox)


def written(id: str, steps: Sequence[int] = (), *, finish: str = "terminator") -> Any:
    """A right answer, its tokens committed in these steps behind a prompt of two."""
    trace = blank(id, 0, 0, 2, 2 + len(steps), 0)
    trace.given[:2], trace.step[2:], trace.token[2:] = True, steps, 100
    return SimpleNamespace(
        id=id,
        sample=0,
        program=RIGHT,
        nfe=3,
        finish=finish,
        trace=trace,
    )


def right(problems: Sequence[Problem]) -> list[Any]:
    """What a perfect model writes."""
    return [written(one.id) for one in problems]


def test_measuring_goes_on_where_it_was_killed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def killed(_: Any, problems: Sequence[Problem], config: GenerateConfig) -> list[Any]:
        if len(asked) >= 4:
            raise RuntimeError("killed")
        asked.extend(problem.id for problem in problems)
        return right(problems)

    monkeypatch.setattr(benches, "CHUNK", 2)
    monkeypatch.setattr(benches, "complete", killed)
    with pytest.raises(RuntimeError, match="killed"):
        bench.outcomes("test", 5, pace=SEVEN)
    del asked[:]
    outcomes = bench.outcomes("test", 5, pace=SEVEN)
    assert [one.id for one in outcomes] == [f"minicode/test/1/{i}" for i in range(5)]
    assert all(one.plus == one.n == 1 and one.passes == 3 for one in outcomes)
    assert asked == ["minicode/test/1/4"]
    del asked[:]
    assert len(bench.outcomes("test", 6, pace=SEVEN)) == 6  # more problems extend fewer
    assert len(bench.outcomes("test", 3, pace=SEVEN)) == 3
    assert asked == ["minicode/test/1/5"]


def test_outcomes_say_how_answers_were_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three samples: one from left to right, one from right to left in a full canvas, one empty."""
    known = bench.problems.get(["minicode/test/1/0"])

    def three(_: Any, problems: Sequence[Problem], config: GenerateConfig) -> list[Any]:
        ways = [written(known[0].problem.id, steps) for steps in ([0, 1], [])]
        return [*ways, written(known[0].problem.id, [1, 0], finish="length")]

    monkeypatch.setattr(benches, "complete", three)
    (outcome,) = bench.outcomes("test", 1, 3, pace=SEVEN)
    assert (outcome.ended, outcome.local, outcome.leftmost, outcome.passes) == (2, 0.5, 0.75, 9)
    assert bench.outcomes("test", 1, 3, pace=SEVEN) == [outcome]


def test_nothing_that_could_be_checked_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benches, "complete", lambda *_: [])
    monkeypatch.setattr(benches, "judge", lambda _, known, programs: [None] * len(known))
    with pytest.raises(SandboxError, match="not check a single one of 2"):
        bench.outcomes("test", 2, pace=SEVEN)


def test_rows_of_another_form_are_named(bench: Bench) -> None:
    bench.folder.mkdir(parents=True)
    (bench.folder / "test-seed1-1x-tau0-quota-7-0.jsonl").write_text('{"index": 0, "solved": 1}\n')
    with pytest.raises(ResumeError, match=r"7-0\.jsonl: a row of another form; delete it"):
        bench.outcomes("test", 1, pace=SEVEN)


def test_other_weights_have_rows_of_their_own(
    bench: Bench, sandbox: Sandbox, tmp_path: Path
) -> None:
    other = Bench.of(find("mini-ar"), "mini", tmp_path, Settings(), sandbox)
    assert other.folder != bench.folder
    assert other.loaded.name == bench.loaded.name == "mini"


def test_paces(bench: Bench, sandbox: Sandbox, tmp_path: Path) -> None:
    free, sure = (
        replace(bench, loaded=replace(bench.loaded, usual=Usual(64, 32, *more)))
        for more in ((), (8, 0.95))
    )
    assert free.paces == tuple(Pace("quota", steps, 0) for steps in (32, 64, 16))
    assert free.usual == Pace("quota", 32, 0) and free.slowest == Pace("quota", 64, 0)
    assert sure.usual == Pace("threshold:0.95", None, 8)
    assert sure.slowest == Pace("quota", 64, 8)
    even = [Pace("quota", steps, 8) for steps in (64, 32, 16)]
    assert sure.paces == (sure.usual, *even, Pace("quota", 32, 0))
    ar = Bench.of(find("mini-ar"), "mini-ar", tmp_path, Settings(), sandbox)
    assert ar.paces == (AR,) and ar.usual == ar.slowest == AR


def test_every_pace_is_a_measurement_of_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Pace] = []

    def noted(_: Any, problems: Sequence[Problem], config: GenerateConfig) -> list[Any]:
        asked.append(Pace(str(config.schedule), config.steps, config.block_length))
        return right(problems)

    monkeypatch.setattr(benches, "complete", noted)
    paces = [SEVEN, Pace("quota", 7, 8), Pace("quota", 8, 8), Pace("threshold:0.9", None, 8)]
    for pace in (*paces, *paces):
        bench.outcomes("test", 1, pace=pace)
    assert asked == paces


def test_a_model_may_be_measured_at_its_usual_pace_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benches, "complete", lambda _, problems, config: right(problems))
    found = replace(bench, settings=replace(QUICK, ood=0)).measure(["usual"])
    assert [row["pace"] for row in found["greedy"]] == [found["pace"]]


def test_problems_of_several_seeds_are_pooled_at_temperature_0_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def noted(_: Any, problems: Sequence[Problem], config: GenerateConfig) -> list[Any]:
        asked.extend(problem.id for problem in problems)
        return right(problems)

    monkeypatch.setattr(benches, "complete", noted)
    settings = replace(QUICK, seeds=(4, 2), problems=2, ood=1)
    found = replace(bench, settings=settings).measure(["usual"])
    pooled = [f"minicode/test/{seed}/{index}" for seed in (4, 2) for index in (0, 1)]
    assert asked == [*pooled, "minicode/ood/4/0"]
    test, ood = found["greedy"]
    assert (test["scored"], test["seeds"], ood["seeds"]) == (4, [4, 2], [4])
    assert replace(bench, settings=settings).outcomes("rl", 1)[0].id == "minicode/rl/4/0"


def test_a_prompt_over_the_limit_cannot_be_measured() -> None:
    long = replace(twice().problem, prompt=HEAD + "    # and so on\n" * 200)
    with pytest.raises(PromptError, match=r"mini: minicode/test/1/0: .* over the model's limit"):
        list(complete(load("mini"), [long], GenerateConfig()))


def test_programs_stand_in_the_order_of_their_samples() -> None:
    config = GenerateConfig(samples=3, temperature=1.0, max_new_tokens=8, batch_size=4)
    asked = [twice(id).problem for id in ("a", "b")]
    done = list(complete(load("mini-ar"), asked, config))
    found = programs(reversed(done))
    assert found.keys() == {"a", "b"}
    for one in done:
        assert isinstance(one, Completion)
        assert found[one.id][one.sample] == one.program


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"pass_samples": 8}, "pass_k=64 of pass_samples=8"),
        ({"problems": 0}, "problems: expected at least 1, got 0"),
        ({"cost_repeats": 0}, "cost_repeats: expected at least 1"),
        ({"ood": -1}, "ood: expected at least 0, got -1"),
        ({"seeds": ()}, "seeds: expected one or more"),
        ({"seeds": (1, 2, 1)}, "each once, got"),
        ({"seeds": (-1,)}, "seeds"),
    ],
)
def test_impossible_sizes_are_refused(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings(**sizes)
    assert replace(QUICK, ood=0).ood == 0
