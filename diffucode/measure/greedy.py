"""How a model does that is being trained: pass@1 on a few problems."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from diffucode.execution.sandbox import Sandbox
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import Completion
from diffucode.measure.judged import judge
from diffucode.measure.problems import Known
from diffucode.measure.samples import complete, programs
from diffucode.models.load import Loaded

USUAL = GenerateConfig()
"""Temperature 0, the model's own pace."""


class Shares(NamedTuple):
    """Of the problems that could be checked; NaN where none could."""

    passed: float
    """Solved: all plus tests pass."""
    valid: float
    """Answered by valid Python."""


def pass_at_1(
    sandbox: Sandbox, loaded: Loaded, problems: Sequence[Known], config: GenerateConfig = USUAL
) -> Shares:
    """One completion of each problem, written as ``diffucode generate`` would and checked."""
    return shares(sandbox, problems, complete(loaded, [one.problem for one in problems], config))


def shares(
    sandbox: Sandbox, problems: Sequence[Known], completions: Iterable[Completion]
) -> Shares:
    """Of problems with a completion each."""
    judged = judge(sandbox, problems, programs(completions))
    outcomes = [one for one in judged if one is not None]
    if not outcomes:
        return Shares(math.nan, math.nan)
    passed, valid = sum(one.plus for one in outcomes), sum(one.valid for one in outcomes)
    return Shares(passed / len(outcomes), valid / len(outcomes))
