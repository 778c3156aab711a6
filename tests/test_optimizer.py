"""The rate of a step."""

import pytest
import torch

from diffucode.errors import ConfigError
from diffucode.optimizer import Optimizer


def test_the_line_and_the_cosine_end_at_least_of_the_peak() -> None:
    line = Optimizer(rate=2.0, schedule="linear", least=0.5)
    assert [line.at(step, 10) for step in (0, 5, 10)] == [2.0, 1.5, 1.0]
    cosine = Optimizer(rate=2.0, schedule="cosine")
    assert [cosine.at(step, 10) for step in (0, 5, 10)] == pytest.approx([2.0, 1.1, 0.2])


def test_a_warm_up_below_1_is_a_share_of_the_steps() -> None:
    share, steps = (Optimizer(rate=1.0, warmup=n, schedule="linear") for n in (0.1, 4))
    assert [share.at(step, 40) for step in range(41)] == [steps.at(step, 40) for step in range(41)]
    assert [steps.at(step, 40) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert Optimizer(rate=1.0, warmup=0.1).at(0, 3) == 1.0


def test_it_is_adamw_with_these_settings() -> None:
    made = Optimizer(rate=0.5, betas=(0.8, 0.7), weight_decay=0.3).over([torch.nn.Parameter()])
    (group,) = made.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.5, (0.8, 0.7), 0.3)


@pytest.mark.parametrize("wrong", [{"rate": 0.0}, {"warmup": -1}, {"least": 2.0}])
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected a rate over 0"):
        Optimizer(**{"rate": 1.0, **wrong})
