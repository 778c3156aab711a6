"""Draw a model's own programs and keep those that pass: the data of the control for reinforcement learning.

    python train/own_programs.py --config configs/train/own_programs_mini.yaml updates=40 seed=1
    accelerate launch train/sft.py --config configs/train/sft_own_mini.yaml

    problems(update) ──> rollouts of the model as it is ──> rewards (sandbox) ──> pairs.jsonl

The rollouts are those that ``train/coupled_grpo.py`` would draw with the same settings if its model never
moved. One process; the same command continues a run that was killed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch

from diffucode import config as configs
from diffucode.errors import ConfigError, TaskError
from diffucode.execution.sandbox import Sandbox
from diffucode.files import append_jsonl, read_jsonl, to_jsonl, write_atomic
from diffucode.generate.settings import GenerateConfig
from diffucode.measure.problems import Problems
from diffucode.models.load import load
from diffucode.rl import graded
from diffucode.rl.graded import Minicode, ProblemSet, Source
from diffucode.rl.own_programs import drawn
from diffucode.rl.rewards import Reward
from diffucode.rl.rollout import fitting
from diffucode.runs import Run, bar, command, open_run

PAIRS, DRAWN = "pairs.jsonl", "drawn.jsonl"


@dataclass(frozen=True)
class OwnPrograms:
    """Fields mean what they mean in ``train/coupled_grpo.py``."""

    model: str = "mini"
    output_dir: str = "runs/own_programs"
    seed: int = 0
    updates: int = 40
    source: Source = field(default_factory=Minicode)
    prompts: int = 12
    rollout: GenerateConfig = field(
        default_factory=lambda: GenerateConfig(samples=8, temperature=1.0, batch_size=64)
    )
    reward: Reward = field(default_factory=Reward)
    threads: int = 1
    problems_folder: str | None = None

    def __post_init__(self) -> None:
        for name in ("updates", "prompts"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"{name} {value}: expected at least 1")


def sample(settings: OwnPrograms) -> Path:
    """Draw, or go on drawing; returns the file of the pairs."""
    torch.set_num_threads(settings.threads)
    run = open_run(settings.output_dir, configs.dump(settings), {"seed": settings.seed})
    finished = run.folder / PAIRS
    if not finished.exists():
        with Sandbox(tier="strongest") as sandbox:
            draw(settings, run, sandbox)
        pairs = [pair for row in read_jsonl(run.folder / DRAWN) for pair in row["pairs"]]
        if not pairs:
            raise TaskError(
                f"none of the programs of {settings.model} passes its tests: nothing to learn from; ask "
                "for more updates or easier problems"
            )
        write_atomic(finished, to_jsonl(pairs))
    return finished


def draw(settings: OwnPrograms, run: Run, sandbox: Sandbox) -> None:
    """The updates that were not drawn yet, a line of ``drawn.jsonl`` and of metrics for each."""
    loaded = load(settings.model)
    kept = Problems(Path(settings.problems_folder or run.folder))
    found = graded.load(settings.source, sandbox=sandbox, make=kept.get)
    usable, _ = fitting(loaded, found.problems, settings.rollout)
    problems = ProblemSet(tuple(usable))
    done = len(read_jsonl(run.folder / DRAWN))
    run.rewind(done)
    with bar("updates", True) as progress:
        task = progress.add_task("", total=settings.updates, completed=done, note="")
        for update in range(done, settings.updates):
            asked = problems.asked(settings.seed, update * settings.prompts)
            rows = list(
                drawn(
                    loaded,
                    list(islice(asked, settings.prompts)),
                    settings.rollout,
                    settings.reward,
                    sandbox,
                    seed=settings.seed,
                    step=update,
                )
            )
            passed = [{"prompt": one.prompt, "answer": one.answer} for one in rows if one.passed]
            figures = {
                "step": update + 1,
                "rollouts": len(rows),
                "passed": len(passed),
                "rollout_positions": sum(one.positions for one in rows),
            }
            run.log(figures)
            append_jsonl(run.folder / DRAWN, [{"pairs": passed}])
            progress.update(task, completed=update + 1, note=f"{len(passed)} passed")


if __name__ == "__main__":
    command(OwnPrograms, sample, __doc__)
