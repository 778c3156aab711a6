"""What training scripts share: a run from its launch to its page, and the loop on lists of ``Part``s.

    batches.at(step, rank, world) ──> parts ──forward, backward──> gradients ──clip──> AdamW ──> checkpoint

Weights of a part are those of the whole step, so that parts and processes add up to one loss: the loop
divides by nothing. Order and masks are the batches' own and need no state: a checkpoint is weights and
optimiser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from diffucode import config as configs
from diffucode.data.answers import Part
from diffucode.errors import ConfigError
from diffucode.models.load import DTYPES
from diffucode.models.transformer import TransformerDenoiser
from diffucode.optimizer import Optimizer
from diffucode.processes import Precision, Processes, Weights, distribute, start
from diffucode.protocols import Tree
from diffucode.runpage.page import write_page
from diffucode.runs import Run, bar, checkpoints, new_checkpoint, open_run
from diffucode.trackers import Tracker, follow, tracked


class Settings(Protocol):
    """What every training says of its run."""

    @property
    def output_dir(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def precision(self) -> Precision: ...
    @property
    def trackers(self) -> Sequence[Tracker]: ...


def trained(
    settings: Settings,
    project: str,
    job: Callable[[Accelerator, Run], None],
    *,
    grad_norm: float,
    batch: int | None = None,
) -> Path:
    """Run or continue a training; returns the folder of the finished model, which ``job`` writes.

    ``job`` is not called for a run that is finished. ``batch``: rows of a step, of which each process needs
    one. Raises ConfigError for a launch that cannot train as the settings say.
    """
    accelerator = start(
        settings.precision, grad_norm, **tracked(settings.trackers, settings.output_dir)
    )
    torch.set_num_threads(settings.threads)
    if batch is not None:
        check_processes(accelerator, batch)
    config = configs.dump(settings)
    with accelerator.main_process_first():
        run = open_run(settings.output_dir, config, {"seed": settings.seed})
    finished = run.folder / "model"
    if finished.exists():
        return finished
    job(accelerator, follow(run, accelerator, settings.trackers, project, config))
    if accelerator.is_main_process:
        write_page(run.folder)
    accelerator.end_training()
    return finished


class Batches(Protocol):
    """The data of every step."""

    def at(self, step: int, rank: int, world: int) -> list[Part]:
        """A process' share of a step."""

    def figures(self, step: int) -> dict[str, float]:
        """How far in the data a run is after ``step`` steps, for its log."""


class Scores(NamedTuple):
    """Sums over targets, scalars."""

    loss: Tensor
    cross_entropy: Tensor
    """Unweighted, nats."""


def score(denoiser: nn.Module, part: Part) -> Scores:
    """The cross-entropy of every target, taken inside the denoiser's forward so that DDP's hooks hold."""

    def readout(logits_nV: Tensor, where: slice) -> Tree:
        return {"nats": F.cross_entropy(logits_nV, part.target_N[where], reduction="none")}

    nats_N = denoiser(part.canvas, part.ask, readout, see_LL=part.see_LL)["nats"]
    return Scores((part.weight_N * nats_N).sum(), nats_N.detach().sum())


def backward(sync: Processes, parts: list[Part]) -> Tensor:
    """Gradients of a step; returns this process' share of loss, cross-entropy, targets and positions,
    ``[4]``. All processes take as many passes: one with fewer parts adds zeros."""
    device = sync.accelerator.device
    total = torch.zeros(4, dtype=torch.float64, device=device)
    passes = int(sync.largest(torch.tensor(float(len(parts)))))
    for index in range(passes):
        idle = index >= len(parts)
        part = parts[-1 if idle else index].to(device)
        with sync.accumulating(index + 1 == passes):
            found = score(sync.model, part)
            # data parallelism averages over processes; the weights already sum over all of them
            sync.backward(found.loss * (0 if idle else sync.world))
        if idle:
            continue
        counts = [len(part.target_N), part.canvas.tokens_BL.numel()]
        total += torch.stack([found.loss.detach(), found.cross_entropy, *total.new_tensor(counts)])
    return total


def check_processes(accelerator: Accelerator, batch: int) -> None:
    """Raises ConfigError for more processes than a step has rows."""
    if batch < accelerator.num_processes:
        raise ConfigError(
            f"batch {batch}: less than a row for each of {accelerator.num_processes} processes"
        )


def check_written(log_every: int, checkpoint_every: int, saved_as: str | None) -> None:
    """Raises ConfigError for a log that would depend on where a run was killed, or an unknown dtype."""
    if checkpoint_every % log_every:
        raise ConfigError(
            f"checkpoint_every {checkpoint_every} is no multiple of log_every {log_every}: a resumed run "
            "would log means over other steps"
        )
    if saved_as is not None and saved_as not in DTYPES:
        raise ConfigError(f"saved_as {saved_as!r}: expected one of {', '.join(DTYPES)}")


def save_checkpoint(accelerator: Accelerator, run: Run, step: int) -> None:
    """Weights and optimiser after ``step``, whole or not at all."""
    main, together = accelerator.is_main_process, accelerator.wait_for_everyone
    with new_checkpoint(run.folder, f"checkpoint-{step}", main=main, together=together) as building:
        accelerator.save_state(str(building))


def load_checkpoint(accelerator: Accelerator, run: Run) -> int:
    """Steps already done: 0 without a checkpoint."""
    found = checkpoints(run.folder)
    if not found:
        return 0
    accelerator.load_state(str(found[-1]))
    return int(found[-1].name.removeprefix("checkpoint-"))


@dataclass(frozen=True)
class Pace:
    """How long, how fast, and what is kept on the way."""

    steps: int
    optimizer: Optimizer
    grad_norm: float
    """Gradients are clipped to this norm."""
    log_every: int
    checkpoint_every: int
    compile: bool = False
    """torch.compile the layers."""


def learn(
    accelerator: Accelerator, run: Run, batches: Batches, pace: Pace, denoiser: TransformerDenoiser
) -> Weights:
    """Train, from the last checkpoint if there is one; metrics go into the run's log."""
    rank, world = accelerator.process_index, accelerator.num_processes
    policy, optimizer, weights = distribute(
        accelerator, denoiser, pace.optimizer, compiled=pace.compile
    )
    sync = Processes(accelerator, policy)
    done = load_checkpoint(accelerator, run)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        run.rewind(done)
    total = torch.zeros(4, dtype=torch.float64, device=accelerator.device)
    with bar("steps", accelerator.is_main_process) as progress:
        task = progress.add_task("", total=pace.steps, completed=done, note="")
        for step in range(done, pace.steps):
            rate = pace.optimizer.at(step, pace.steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            total += backward(sync, batches.at(step, rank, world))
            norm = sync.clip(policy.parameters(), pace.grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            finished = step + 1 == pace.steps
            if (step + 1) % pace.log_every == 0 or finished:
                loss, nats, targets, positions = accelerator.reduce(total, "sum").tolist()
                figures = {
                    "loss": loss / (step % pace.log_every + 1),
                    "cross_entropy": nats / max(1, targets),
                    "grad_norm": float(norm),
                    "rate": rate,
                    "forward_positions": int(positions),
                    **batches.figures(step + 1),
                }
                total.zero_()
                progress.update(task, note=f"loss {figures['loss']:.3f}")
                if accelerator.is_main_process:
                    run.log({"step": step + 1, **figures})
            if (step + 1) % pace.checkpoint_every == 0 or finished:
                save_checkpoint(accelerator, run, step + 1)
            progress.update(task, completed=step + 1)
    return weights
