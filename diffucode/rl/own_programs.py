"""Rejection sampling: a model's own completions that pass the graded tests, as prompts with answers.

The control for reinforcement learning: the same rollouts of the same problems, update after update, but of
the model as it was at first; what passes is learnt by plain fine-tuning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from diffucode.execution.sandbox import Sandbox
from diffucode.generate.settings import GenerateConfig
from diffucode.rl.graded import GradedProblem
from diffucode.rl.reward_pool import RewardPool
from diffucode.rl.rewards import Reward
from diffucode.rl.rollout import Rollout, roll

if TYPE_CHECKING:
    from diffucode.models.load import Loaded


class Drawn(NamedTuple):
    """A completion, and whether it may be learnt from."""

    prompt: str
    answer: str
    passed: bool
    """Every graded test."""
    positions: int
    """That went through the model for it."""


def drawn(
    loaded: Loaded,
    problems: Sequence[GradedProblem],
    config: GenerateConfig,
    reward: Reward,
    sandbox: Sandbox,
    *,
    seed: int,
    step: int,
) -> Iterator[Drawn]:
    """The completions of an update of reinforcement learning at its first weights, in its order.

    Noise is keyed as there: by (``seed``, ``step``, problem, sample).
    """
    by_id = {problem.id: problem for problem in problems}
    with RewardPool(reward, sandbox, by_id) as pool:
        rollouts = roll(loaded, problems, config, pool, seed=seed, step=step)
    for one in rollouts:
        yield Drawn(
            by_id[one.problem].prompt,
            one.text,
            _passed(one),
            one.nfe * len(one.trace.token),
        )


def _passed(one: Rollout) -> bool:
    verdicts = one.reward.verdicts
    return bool(verdicts) and all(verdict == "passed" for verdict in verdicts)
