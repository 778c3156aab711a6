"""Plans: the jobs they expand to, the one that is shipped, and what is refused."""

from pathlib import Path

import pytest
from running import ROOT, as_module

from diffucode import config
from diffucode.errors import ConfigError
from diffucode.models.bundled import available
from diffucode.studies.jobs import command
from diffucode.studies.plan import AsItIs, Study, Trained, Voting, grid_jobs, jobs, selected

PLAN = ROOT / "configs/studies/coupled_grpo.yaml"
CLASSES = {"coupled_grpo": "CoupledGrpo", "own_programs": "OwnPrograms", "sft": "Sft"}


@pytest.fixture(scope="module")
def study() -> Study:
    return config.load(Study, PLAN)


def test_every_arm_of_the_plan_loads_and_every_point_of_the_grid(study: Study) -> None:
    assert study.choices is not None
    read = {name: getattr(as_module(f"train/{name}.py"), CLASSES[name]) for name in CLASSES}
    names = {info.name for info in available()}
    for arm in study.arms:
        if not isinstance(arm.how, Trained):
            assert isinstance(arm.how, AsItIs | Voting) and arm.how.model in names
            continue
        points = study.choices.grid if arm.name == study.choices.arms[0] else ((),)
        for number, stage in enumerate(arm.how.stages):
            for point in points if number == 0 else ((),):
                place = Path("study")
                words = command(stage, 3, place / stage.name, point, previous=place, problems=place)
                file, flag, path, *overrides = words
                assert (file, flag) == (stage.script, "--config") and (ROOT / file).is_file()
                settings = config.load(read[stage.name], ROOT / path, overrides)
                assert settings.seed == 3 and settings.output_dir == str(place / stage.name)
                assert "<" not in str(overrides)
                base = study.base_of(arm).how
                assert isinstance(base, AsItIs) and settings.model == base.model, arm.name


def test_the_plan_is_what_the_issue_asks_for(study: Study) -> None:
    assert [(one.arm, one.against) for one in study.comparisons] == [
        ("coupled", "decoupled"),
        ("coupled", "full"),
    ]
    assert study.choices is not None and set(study.choices.seeds) == {0, 1, 2}
    assert len(study.seeds["primary"]) >= 5 and len(study.seeds["exploratory"]) >= 3
    assert not set(study.seeds["primary"]) & set(study.choices.seeds)
    assert study.evaluation.problems >= 500 and study.evaluation.samples == 64
    assert study.paces == ("usual", "L", "L/2", "L/4")


def test_jobs_are_arms_and_seeds(study: Study) -> None:
    found = jobs(study)
    assert len({job.name for job in found}) == len(found)
    assert [job.name for job in found[:4]] == [
        "base-0",
        "base_adapted-0",
        "base_ar-0",
        "coupled-10",
    ]
    assert sum(job.arm.role == "primary" for job in found) == 3 * len(study.seeds["primary"])
    assert len(grid_jobs(study)) == 3 * 4 * 3
    some = selected(study, found, ["coupled", "base"], [11])
    assert [job.name for job in some] == ["base-0", "coupled-11"]
    with pytest.raises(ConfigError, match="--only coupld: expected one of base, base_adapted"):
        selected(study, found, ["coupld"], [])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("comparisons=[{arm: coupled, against: nobody}]", "'nobody' is compared"),
        ("pace=L/3", "pace 'L/3': expected one of usual, L, L/2, L/4"),
        ("seeds.primary=[]", "seeds.primary: none are given"),
        ("evaluation.sampled=501", "no more sampled problems"),
        ("choices.arms=[vote]", "'vote' is not trained"),
        ("choices.followers={permuted: trace}", "'trace' is not trained, or not among"),
        ("arms=[{name: A, role: base, how: {kind: as_it_is, model: mini}}]", "arm 'A'"),
        ("arms=[{name: a, role: base, how: {kind: trained, stages: []}}]", "stages"),
        (
            "arms=[{name: a, role: control, how: {kind: as_it_is, model: mini}}]",
            "a base is a model",
        ),
    ],
)
def test_plans_that_do_not_hold_together_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.load(Study, PLAN, [override])
