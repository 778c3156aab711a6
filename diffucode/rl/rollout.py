"""Rollouts: groups of completions of graded problems, rewarded in the sandbox while the next ones decode.

    problems ──> prompts ──> Engine ──> completions ──group by group──> RewardPool ──> Rollout
                 too long: counted,       (policy, plan and seed of the step)          in the order of
                 never cut                                                             the problems

The noise of a completion is keyed by (seed, step, problem, sample): it is the same in any batch, on any
rank, and after a restart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from diffucode.decoding.trace import Trace
from diffucode.generate.model import decoder_of
from diffucode.generate.prompted import Prompt, prepare
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import Completion, stream
from diffucode.rl.graded import GradedProblem
from diffucode.rl.reward_pool import RewardPool
from diffucode.rl.rewards import Sample, Scored

if TYPE_CHECKING:
    from diffucode.models.load import Loaded


@dataclass(frozen=True)
class Rollout:
    """One completion and what it earned."""

    problem: str
    trace: Trace
    text: str
    """What was written, without special tokens."""
    program: str
    reward: Scored
    nfe: int
    finish: str


def step_seed(seed: int, step: int) -> int:
    """The seed of a step's noise."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{step}".encode(), digest_size=6).digest())


def fitting(
    loaded: Loaded, problems: Sequence[GradedProblem], config: GenerateConfig
) -> tuple[list[GradedProblem], list[str]]:
    """Problems whose prompts the model has room for, and the ids of the others."""
    prepared = prepare(loaded, [Prompt(one.id, one.prompt) for one in problems], config)
    refused = {refusal.id for refusal in prepared.refused}
    return [one for one in problems if one.id not in refused], sorted(refused)


def roll(
    loaded: Loaded,
    problems: Sequence[GradedProblem],
    config: GenerateConfig,
    pool: RewardPool,
    *,
    seed: int,
    step: int,
) -> list[Rollout]:
    """``config.samples`` completions of each problem, with their rewards, by problem, then sample.

    ``config`` carries the policy's temperature, order and schedule; its seed is replaced by the step's.
    Raises PromptError for a prompt that the model has no room for (see ``fitting``).
    """
    config = replace(config, seed=step_seed(seed, step))
    prompts = [Prompt(problem.id, problem.prompt) for problem in problems]
    jobs = list(prepare(loaded, prompts, config).jobs())
    reading = {job.request.id: job.rendered.reading for job in jobs}
    groups: dict[str, dict[int, Completion]] = {problem.id: {} for problem in problems}
    submitted: list[str] = []
    frames = stream(
        loaded, jobs, decoder=decoder_of(loaded, config), capacity=config.batch_size, rl_step=step
    )
    for frame in frames:
        for done in frame.completions:
            group = groups[done.id]
            group[done.sample] = done
            if len(group) == config.samples:
                pool.submit(
                    [
                        Sample(one.id, one.text, one.program, one.finish, reading[one.id])
                        for one in (group[n] for n in range(config.samples))
                    ]
                )
                submitted.append(done.id)
    rewards = {id: pool.collect() for id in submitted}
    return [
        Rollout(problem.id, one.trace, one.text, one.program, reward, one.nfe, one.finish)
        for problem in problems
        for n, reward in enumerate(rewards[problem.id])
        for one in (groups[problem.id][n],)
    ]
