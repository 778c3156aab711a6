"""Plans of sweeps: their cells, and what is refused."""

import pytest
from running import ROOT

from diffucode import config
from diffucode.errors import ConfigError
from diffucode.measure.sweep.plan import Sweep
from diffucode.models.bundled import available


def test_the_shipped_plan() -> None:
    sweep = config.load(Sweep, ROOT / "configs/eval/sweep_mini.yaml")
    names = {info.name for info in available()}
    assert set(sweep.models) <= names and {"mini-ar", "mini-ar-matched"} <= set(sweep.models)


def test_cells_are_the_grid_and_an_ar_model_has_one_order() -> None:
    sweep = Sweep(temperatures=(0.0, 1.0), order_temperatures=(0.0, 0.5))
    found = sweep.cells("some/where/mini", "diffusion")
    assert [cell.name for cell in found] == [
        "mini-t0-o0",
        "mini-t0-o0.5",
        "mini-t1-o0",
        "mini-t1-o0.5",
    ]
    assert [sweep.wanted(cell) for cell in found] == [1, 16, 16, 16]
    assert [cell.name for cell in sweep.cells("mini-ar", "ar")] == ["mini-ar-t0", "mini-ar-t1"]
    assert [sweep.wanted(cell) for cell in sweep.cells("mini-ar", "ar")] == [1, 16]


def test_what_concerns_the_order_is_left_out_for_an_ar_model() -> None:
    sweep = config.load(Sweep, None, ["decoding.steps=16", "decoding.top_p=0.9", "seed=7"])
    [cell, *_] = sweep.cells("mini", "diffusion")
    [ar, *_] = sweep.cells("mini-ar", "ar")
    assert (sweep.config(cell, 3).steps, sweep.config(ar, 3).steps) == (16, None)
    for one in (sweep.config(cell, 3), sweep.config(ar, 3)):
        assert (one.top_p, one.seed, one.samples, one.temperature) == (0.9, 7, 3, 0.4)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("models=[]", "models []: expected one or more"),
        ("temperatures=[1.0, 1.0]", "each once"),
        ("models=[a/mini, b/mini]", "last names"),
        ("order_temperatures=[-1.0]", "expected numbers >= 0"),
        ("k=17", "k 17, samples 16"),
        ("batch_size=0", "batch_size 0"),
        ("decoding.temperature=1.0", "decoding.temperature: the sweep sets it"),
        ("split=train", "split"),
    ],
)
def test_plans_that_make_no_sense(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(Sweep, None, [override])
    assert message in str(caught.value)
