"""The loop of a training on lists of ``Part``s: what ``train/sft.py`` and ``train/corpus.py`` share.

    batches.at(step, rank, world) ──> parts ──forward, backward──> gradients ──clip──> AdamW ──> checkpoint

Weights of a part are those of the whole step, so that parts and processes add up to one loss: the loop
divides by nothing. Order and masks are the batches' own and need no state: a checkpoint is weights and
optimiser.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from accelerate import Accelerator, DistributedType
from torch import Tensor, nn
from torch.nn import functional as F

from diffucode.data.answers import Part
from diffucode.errors import ConfigError
from diffucode.optimizer import Optimizer
from diffucode.protocols import Tree
from diffucode.runs import Run, bar, checkpoints, new_checkpoint


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


def backward(accelerator: Accelerator, denoiser: nn.Module, parts: list[Part]) -> Tensor:
    """Gradients of a step; returns this process' share of loss, cross-entropy, targets and positions,
    ``[4]``."""
    total = torch.zeros(4, dtype=torch.float64, device=accelerator.device)
    for part in parts:
        # Processes exchange gradients once a step, in the last backward pass.
        with nullcontext() if part is parts[-1] else accelerator.no_sync(denoiser):
            found = score(denoiser, part.to(accelerator.device))
            # DDP averages gradients over processes; the weights already sum over all of them.
            accelerator.backward(found.loss * accelerator.num_processes)
        counts = [len(part.target_N), part.canvas.tokens_BL.numel()]
        total += torch.stack([found.loss.detach(), found.cross_entropy, *total.new_tensor(counts)])
    return total


def check_processes(accelerator: Accelerator, batch: int) -> None:
    """Raises ConfigError for a way of sharing the work that the loop does not know."""
    kinds = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)
    if accelerator.distributed_type in kinds:
        raise ConfigError(
            f"{accelerator.distributed_type.value}: weights in pieces are not trained here; "
            "launch with configs/accelerate/ddp.yaml"
        )
    if batch < accelerator.num_processes:
        raise ConfigError(
            f"batch {batch}: less than a row for each of {accelerator.num_processes} processes"
        )


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


def learn(
    accelerator: Accelerator, run: Run, batches: Batches, pace: Pace, denoiser: nn.Module
) -> None:
    """Train, from the last checkpoint if there is one; metrics go into the run's log."""
    rank, world = accelerator.process_index, accelerator.num_processes
    denoiser, optimizer = accelerator.prepare(denoiser, pace.optimizer.over(denoiser.parameters()))
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
            total += backward(accelerator, denoiser, batches.at(step, rank, world))
            norm = accelerator.clip_grad_norm_(denoiser.parameters(), pace.grad_norm)
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
