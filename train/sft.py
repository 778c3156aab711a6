"""Fine-tune a code model on prompts and answers: a diffusion model of any family, or an AR one.

    accelerate launch train/sft.py --config configs/train/sft_mini.yaml steps=100 seed=1

    pairs ──rendered as the model is spoken to──> tokens ──> batch(step) ──> loss ──> AdamW ──> checkpoint
    (table, minicode)                             data.npz   (seed, step)                          │
                                                                                               model/

A prompt is never hidden. What stands behind it is hidden with a probability drawn for each row (diffusion),
or read to the left (AR); what is learnt of it, and by what weight, is ``diffucode.data.answers``.

Everything random is a function of (seed, step), so a resumed run repeats the unbroken one bitwise on one
machine, process and thread count; the same command continues a run that was killed. The number of
processes and of rows at a time changes the rounding of a step, not its mathematics.
"""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import DistributedDataParallelKwargs
from rich.progress import Progress
from tokenizers import AddedToken
from torch import Tensor, nn
from torch.nn import functional as F

from diffucode import config as configs
from diffucode.data import pairs
from diffucode.data.answers import AnswerBatches, Ids, Normaliser, Part, Width, room
from diffucode.data.batches import Weighting
from diffucode.data.packed import Packed, pack_ids
from diffucode.data.pairs import Minicode, Source
from diffucode.errors import ConfigError, DiffucodeError, PromptError, TaskError
from diffucode.files import write_atomic
from diffucode.generate.prompted import speaker_of
from diffucode.models.build import recompute_layers
from diffucode.models.families import native
from diffucode.models.load import DTYPES, Loaded, load, save
from diffucode.optimizer import Optimizer
from diffucode.protocols import Tree
from diffucode.runpage.page import write_page
from diffucode.runs import Run, bar, checkpoints, keep_checkpoint, open_run
from diffucode.tasks.prompts import Style
from diffucode.trackers import Tracker, follow, tracked


@dataclass(frozen=True)
class Sft:
    model: str = "mini"
    output_dir: str = "runs/sft"
    seed: int = 0
    source: Source = field(default_factory=Minicode)
    prompt_style: Style = "auto"
    """How prompts are shown: as ``diffucode generate`` shows them. The answer follows as it was found."""
    system: str | None = None
    """System prompt. None: the family's; an empty one: none."""
    end: str | None = None
    """The token behind every answer. None: what ends a message of the family's chat, or end-of-text."""
    fill: str | None = None
    """The token that the rest of a canvas is filled with. None: end-of-text. One that the tokenizer lacks
    is added to it, if the model has a row of its embedding to spare."""
    length: int = 512
    """Most positions of a row. An example that needs more is left out and counted, never cut."""
    width: Width = "batch"
    """Positions behind a prompt: ``answer``, ``batch``, ``length`` or a number (``data.answers``)."""
    score_fill: bool = True
    """Learn to write the fill. False: it is hidden like the rest, and not scored."""
    weighting: Weighting = "bound"
    normaliser: Normaliser = "answer"
    least_time: float = 1e-3
    """The share of a row that is hidden is uniform from this to 1."""
    epochs: int = 1
    steps: int | None = None
    """Instead of ``epochs``."""
    batch: int = 32
    """Rows of a step, over all processes."""
    rows: int = 8
    """Rows of a forward and backward pass: memory, not mathematics."""
    optimizer: Optimizer = field(default_factory=lambda: Optimizer(rate=1e-5))
    grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    threads: int = 1
    dtype: str = "float32"
    """Of weights, gradients and the optimiser. In bfloat16 a weight forgets steps below 1/256 of it."""
    precision: Literal["no", "bf16"] = "no"
    """What matrices are multiplied in: the weights' dtype, or bfloat16 (autocast)."""
    saved_as: str | None = None
    """dtype of the finished model. None: that of the weights."""
    gradient_checkpointing: bool = False
    log_every: int = 10
    checkpoint_every: int = 100
    trackers: tuple[Tracker, ...] = ()
    """That get every row of metrics.jsonl as well."""

    def __post_init__(self) -> None:
        for name in ("length", "epochs", "batch", "rows", "log_every", "checkpoint_every"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"{name} {value}: expected at least 1")
        for name in ("steps", "width"):
            if isinstance(value := getattr(self, name), int) and value < 1:
                raise ConfigError(f"{name} {value}: expected at least 1")
        if not 0 <= self.least_time <= 1 or not self.grad_norm > 0:
            raise ConfigError(
                f"least_time {self.least_time}, grad_norm {self.grad_norm}: expected a time from 0 to 1 "
                "and a norm over 0"
            )
        if self.checkpoint_every % self.log_every:
            raise ConfigError(
                f"checkpoint_every {self.checkpoint_every} is no multiple of log_every "
                f"{self.log_every}: a resumed run would log means over other steps"
            )
        if self.saved_as is not None and self.saved_as not in DTYPES:
            raise ConfigError(f"saved_as {self.saved_as!r}: expected one of {', '.join(DTYPES)}")


# --- the model ---------------------------------------------------------------------------------


def open_model(settings: Sft, accelerator: Accelerator) -> Loaded:
    """The model to tune. Raises ConfigError for settings that it cannot follow."""
    device = accelerator.device
    # of several processes on a CPU: cpu:0, which safetensors does not know
    device = torch.device("cpu") if device.type == "cpu" else device
    loaded = load(settings.model, device=device, dtype=settings.dtype)
    if settings.length > loaded.limit:
        raise ConfigError(
            f"length {settings.length}: {settings.model} was built for {loaded.limit} positions"
        )
    if loaded.decoder == "ar" and (
        settings.width != "answer" or settings.weighting not in ("bound", "even")
    ):
        raise ConfigError(
            f"width {settings.width!r}, weighting {settings.weighting!r}: {settings.model} reads to the "
            "left, which hides nothing and needs no fill; take width=answer and weighting=even"
        )
    kind = loaded.denoiser.model.config.model_type
    if layout(loaded) == "native" and kind not in native.CLASSES:
        raise ConfigError(
            f"model {settings.model!r}: a {kind} model cannot be saved; expected one of "
            f"{', '.join(native.CLASSES)}"
        )
    if settings.gradient_checkpointing:
        recompute_layers(loaded.denoiser.model)
    return loaded


def layout(loaded: Loaded) -> str:
    """How the tuned model is saved: as it was found, or in our own layout."""
    return "native" if loaded.family == "stock" else loaded.family


def special_ids(settings: Sft, loaded: Loaded) -> Ids:
    """End, fill and mask; adds a fill to the tokenizer that lacks it."""
    tokenizer, chats = loaded.tokenizer, speaker_of(loaded)
    templated = chats.style(settings.prompt_style) == "chat"
    end = settings.end or (chats.end if templated else None) or tokenizer.eos_token
    fill, rows = settings.fill or tokenizer.eos_token, loaded.denoiser.vocab_size
    if fill not in tokenizer.get_vocab() and len(tokenizer) < rows:
        tokenizer.add_tokens([AddedToken(fill, special=True)], special_tokens=True)
    vocabulary = tokenizer.get_vocab()
    for name, token in (("end", end), ("fill", fill)):
        if token not in vocabulary:
            raise ConfigError(f"{name} {token!r}: no token of {settings.model}")
    # What ends a completion is asked of the saved tokenizer, too, which knows an added fill.
    known = {*loaded.denoiser.terminator_ids, vocabulary[fill]}
    if vocabulary[end] not in known:
        raise ConfigError(f"end {end!r}: decoding {settings.model} would not stop at it")
    mask = None if loaded.decoder == "ar" else loaded.denoiser.mask_id
    return Ids(vocabulary[end], vocabulary[fill], mask)


# --- data --------------------------------------------------------------------------------------


Row = tuple[list[int], list[int], int]


def tokenised(settings: Sft, loaded: Loaded, ids: Ids, left_out: Counter[str]) -> Iterator[Row]:
    """Tokens of prompts and answers, and the room of each; what does not fit is counted."""
    speaker, tokenizer = speaker_of(loaded), loaded.tokenizer
    for pair in pairs.read(settings.source, left_out):
        try:
            rendered = speaker.render(pair.prompt, settings.prompt_style, settings.system)
        except PromptError as error:
            raise PromptError(f"{pair.place}: {error}") from None
        prompt = tokenizer.encode(rendered.text, add_special_tokens=not rendered.templated)
        answer = tokenizer.encode(pair.answer, add_special_tokens=False)
        given = room(settings.width, len(prompt), len(answer) + 1, settings.length)
        if ids.mask is not None and ids.mask in (*prompt, *answer):
            left_out["spells the mask token"] += 1
        elif given is None:
            left_out["too long"] += 1
        else:
            yield prompt, answer, given


def prepare_data(settings: Sft, loaded: Loaded, ids: Ids, folder: Path, shown: bool) -> Packed:
    """Tokenised examples, made once per run folder; prints how many were left out, and why."""
    file = folder / "data.npz"
    if not file.exists():
        left_out: Counter[str] = Counter()
        packed = pack_ids(tokenised(settings, loaded, ids, left_out))
        why = "; ".join(f"{n} x {reason}" for reason, n in left_out.most_common()) or "nothing"
        if not len(packed):
            raise TaskError(f"source {settings.source}: no example can be used; left out: {why}")
        if shown:
            print(f"{len(packed)} examples; left out: {why}")
        write_atomic(file, packed.dump())
    return Packed.load(file)


def batches_of(settings: Sft, data: Packed, ids: Ids) -> AnswerBatches:
    return AnswerBatches(
        data,
        ids,
        width=settings.width,
        score_fill=settings.score_fill,
        weighting=settings.weighting,
        normaliser=settings.normaliser,
        least_time=settings.least_time,
        batch=settings.batch,
        rows=settings.rows,
        seed=settings.seed,
    )


# --- one step ----------------------------------------------------------------------------------


class Scores(NamedTuple):
    """Sums over targets, scalars."""

    loss: Tensor
    cross_entropy: Tensor
    """Unweighted, nats."""


def score(denoiser: nn.Module, part: Part) -> Scores:
    """The cross-entropy of every target, taken inside the denoiser's forward so that DDP's hooks hold."""

    def readout(logits_nV: Tensor, where: slice) -> Tree:
        return {"nats": F.cross_entropy(logits_nV, part.target_N[where], reduction="none")}

    nats_N = denoiser(part.canvas, part.ask, readout)["nats"]
    return Scores((part.weight_N * nats_N).sum(), nats_N.detach().sum())


def backward(accelerator: Accelerator, denoiser: nn.Module, parts: list[Part]) -> Tensor:
    """Gradients of a step; returns this process' share of loss, cross-entropy and targets, ``[3]``."""
    total = torch.zeros(3, dtype=torch.float64, device=accelerator.device)
    for part in parts:
        # Processes exchange gradients once a step, in the last backward pass.
        with nullcontext() if part is parts[-1] else accelerator.no_sync(denoiser):
            found = score(denoiser, part.to(accelerator.device))
            # DDP averages gradients over processes; the weights already sum over all of them.
            accelerator.backward(found.loss * accelerator.num_processes)
        targets = torch.tensor(len(part.target_N), device=accelerator.device)
        total += torch.stack([found.loss.detach(), found.cross_entropy, targets]).double()
    return total


# --- the run -----------------------------------------------------------------------------------


def save_checkpoint(accelerator: Accelerator, run: Run, step: int) -> None:
    """Weights and optimiser after ``step``, whole or not at all. Data and noise need no state."""
    building = run.folder / ".checkpoint"
    if accelerator.is_main_process:
        shutil.rmtree(building, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(building))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        keep_checkpoint(building, run.folder / f"checkpoint-{step}")
    accelerator.wait_for_everyone()


def load_checkpoint(accelerator: Accelerator, run: Run) -> int:
    """Steps already done: 0 without a checkpoint."""
    found = checkpoints(run.folder)
    if not found:
        return 0
    accelerator.load_state(str(found[-1]))
    return int(found[-1].name.removeprefix("checkpoint-"))


def train(settings: Sft) -> Path:
    """Run or continue a training; returns the folder of the finished model."""
    ddp = DistributedDataParallelKwargs(gradient_as_bucket_view=True)
    tracking = tracked(settings.trackers, settings.output_dir)
    accelerator = Accelerator(mixed_precision=settings.precision, kwargs_handlers=[ddp], **tracking)
    torch.set_num_threads(settings.threads)
    check_processes(settings, accelerator)
    main = accelerator.is_main_process
    with accelerator.main_process_first():
        run = open_run(settings.output_dir, configs.dump(settings), {"seed": settings.seed})
    finished = run.folder / "model"
    if finished.exists():
        return finished
    run = follow(run, accelerator, settings.trackers, "sft", configs.dump(settings))
    loaded = open_model(settings, accelerator)
    ids = special_ids(settings, loaded)
    with accelerator.main_process_first():
        data = prepare_data(settings, loaded, ids, run.folder, main)
    batches = batches_of(settings, data, ids)
    optimizer = settings.optimizer.over(loaded.denoiser.parameters())
    denoiser, optimizer = accelerator.prepare(loaded.denoiser, optimizer)
    with bar("steps", main) as progress:
        learn(settings, accelerator, run, batches, denoiser, optimizer, progress)
    if main:
        if settings.saved_as is not None:
            loaded.denoiser.to(DTYPES[settings.saved_as])
        save(loaded, finished, layout(loaded))
        write_page(run.folder)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return finished


def check_processes(settings: Sft, accelerator: Accelerator) -> None:
    kinds = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)
    if accelerator.distributed_type in kinds:
        raise ConfigError(
            f"{accelerator.distributed_type.value}: weights in pieces are not trained here; "
            "launch with configs/accelerate/ddp.yaml"
        )
    if settings.batch < accelerator.num_processes:
        raise ConfigError(
            f"batch {settings.batch}: less than a row for each of {accelerator.num_processes} processes"
        )


def learn(
    settings: Sft,
    accelerator: Accelerator,
    run: Run,
    batches: AnswerBatches,
    denoiser: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    rank, world = accelerator.process_index, accelerator.num_processes
    steps = settings.steps or settings.epochs * batches.per_epoch
    done = load_checkpoint(accelerator, run)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        run.rewind(done)
    total = torch.zeros(3, dtype=torch.float64, device=accelerator.device)
    task = progress.add_task("", total=steps, completed=done, note="")
    for step in range(done, steps):
        rate = settings.optimizer.at(step, steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        total += backward(accelerator, denoiser, batches.at(step, rank, world))
        norm = accelerator.clip_grad_norm_(denoiser.parameters(), settings.grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        finished = step + 1 == steps
        if (step + 1) % settings.log_every == 0 or finished:
            loss, nats, targets = accelerator.reduce(total, "sum").tolist()
            figures = {
                "loss": loss / (step % settings.log_every + 1),
                "cross_entropy": nats / max(1, targets),
                "grad_norm": float(norm),
                "rate": rate,
                "epoch": (step + 1) / batches.per_epoch,
            }
            total.zero_()
            progress.update(task, note=f"loss {figures['loss']:.3f}")
            if accelerator.is_main_process:
                run.log({"step": step + 1, **figures})
        if (step + 1) % settings.checkpoint_every == 0 or finished:
            save_checkpoint(accelerator, run, step + 1)
        progress.update(task, completed=step + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", help="YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    try:
        train(configs.load(Sft, arguments.config, arguments.overrides))
    except DiffucodeError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
