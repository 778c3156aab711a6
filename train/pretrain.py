"""Train a small code model on minicode, as a masked-diffusion or as an autoregressive model.

    accelerate launch train/pretrain.py --config configs/train/pretrain_mini.yaml steps=3000
    python train/pretrain.py --config configs/train/pretrain_mini.yaml run=runs/try

    problems ──> tokens ──> batch(step) ──> loss ──> Muon + AdamW ──> checkpoint ──> model/
    (seed)       data.npz   (seed, step)

A row of a batch, and what the two objectives ask of it (p prompt, a answer, e end of text, . padding)::

    tokens      p p p p a a a a a e e e e .      the canvas behind the prompt is filled with e
    diffusion   p p p p a _ a _ _ e _ e e .      each canvas position is hidden with probability t and
                          ^   ^ ^   ^            predicted from all others, weight 1/t  (LLaDA)
    ar          p p p p a a a a a e              answer and one e, each predicted from its left

Everything random is a function of (seed, step), so a resumed run repeats the unbroken one bitwise on
one machine and thread count; the same command continues a run that was killed.
"""

from __future__ import annotations

import argparse
import io
import math
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from diffucode import config as configs
from diffucode.errors import ConfigError, DiffucodeError
from diffucode.runs import Run, open_run, write_atomic
from diffucode.tasks import minicode

END, MASK, PAD = "<|endoftext|>", "<|mask|>", "<|pad|>"
RESERVED = [f"<|reserved_{i}|>" for i in range(13)]
PIECES = r"\n *| ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|[^\S\n]+"
"""What no token crosses: a line break with its indentation, words, numbers, punctuation, other space.
(GPT-2's pattern would also cut English contractions, so that 's' in quotes is unlike 'e' in quotes.)"""
LONGEST = 512
"""Positions the saved model claims; prompts over it are refused by whoever loads it."""


@dataclass(frozen=True)
class Architecture:
    """A Qwen3 transformer with tied embeddings."""

    hidden: int = 128
    layers: int = 4
    heads: int = 4
    intermediate: int = 384


@dataclass(frozen=True)
class Pretrain:
    run: str = "runs/mini"
    objective: Literal["diffusion", "ar"] = "diffusion"
    seed: int = 0
    problems: int = 100_000
    """Training problems drawn from minicode's train split."""
    canvas: int = 56
    """Answer positions; a shorter answer is filled up with end-of-text tokens."""
    full_canvas: float = 0.15
    """Share of rows with the whole canvas; the others get a random width between answer and canvas."""
    vocabulary: int = 1024
    model: Architecture = field(default_factory=Architecture)
    steps: int = 3000
    batch: int = 48
    """Rows of a step, over all processes."""
    warmup: int = 50
    """Steps of linear warm-up; from there the rates fall linearly to 0 over the whole run."""
    muon_rate: float = 0.02
    adam_rate: float = 3e-3
    threads: int = 1
    log_every: int = 20
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        if self.checkpoint_every % self.log_every:
            raise ConfigError(
                f"checkpoint_every={self.checkpoint_every} is no multiple of log_every="
                f"{self.log_every}: a resumed run would log means over other steps"
            )


# --- data --------------------------------------------------------------------------------------


class Data(NamedTuple):
    """Tokenized problems, one after another, prompt before answer."""

    tokens: np.ndarray
    prompt_n: np.ndarray
    answer_n: np.ndarray
    start_n: np.ndarray

    @classmethod
    def of(cls, pairs: Iterable[tuple[list[int], list[int]]]) -> Data:
        prompts, answers = zip(*pairs, strict=True)
        rows = [p + a for p, a in zip(prompts, answers, strict=True)]
        prompt_n, answer_n = np.array([*map(len, prompts)]), np.array([*map(len, answers)])
        start_n = np.concatenate([[0], np.cumsum(prompt_n + answer_n)[:-1]])
        return cls(np.concatenate(rows).astype(np.int64), prompt_n, answer_n, start_n)

    def row(self, n: int) -> np.ndarray:
        return self.tokens[self.start_n[n] : self.start_n[n] + self.prompt_n[n] + self.answer_n[n]]


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE: any UTF-8 text survives a round trip."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, MASK, PAD, *RESERVED],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        mask_token=MASK,
        pad_token=PAD,
        model_max_length=LONGEST,
        clean_up_tokenization_spaces=False,
    )


def prepare(settings: Pretrain, folder: Path) -> tuple[Data, PreTrainedTokenizerFast]:
    """Tokenizer and tokenized problems, made once per run folder. Answers over the canvas are dropped."""
    cache, tokenizer_folder = folder / "data.npz", folder / "tokenizer"
    if not cache.exists():
        problems = minicode.problems("train", settings.seed, settings.problems)
        tokenizer = train_tokenizer((p.program for p in problems[:10_000]), settings.vocabulary)
        tokenizer.save_pretrained(tokenizer_folder)
        prompts = tokenizer([p.prompt for p in problems])["input_ids"]
        answers = tokenizer([p.reference for p in problems])["input_ids"]
        data = Data.of(
            (p, a) for p, a in zip(prompts, answers, strict=True) if len(a) < settings.canvas
        )
        buffer = io.BytesIO()
        np.savez(buffer, **data._asdict())
        write_atomic(cache, buffer.getvalue())
    return Data(**np.load(cache)), PreTrainedTokenizerFast.from_pretrained(tokenizer_folder)


# --- batches -----------------------------------------------------------------------------------


class Batch(NamedTuple):
    """Rows, and the positions to score: the loss is the sum of weight x cross-entropy."""

    tokens_BL: Tensor
    real_BL: Tensor
    row_N: Tensor
    col_N: Tensor
    """Where the logits are read: the hidden position itself; for AR the one before the target."""
    target_N: Tensor
    weight_N: Tensor


class SpecialIds(NamedTuple):
    end: int
    mask: int
    pad: int


class Batches:
    """The batch of any step: a pure function of settings, data and step."""

    def __init__(self, settings: Pretrain, data: Data, ids: SpecialIds) -> None:
        self.settings, self.data, self.ids = settings, data, ids
        self.per_epoch = len(data.prompt_n) // settings.batch
        if not self.per_epoch:
            raise ConfigError(f"problems={len(data.prompt_n)} is less than batch={settings.batch}")
        self._epoch = cache(self._draw_epoch)

    def at(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The rows rank, rank + world, ... of the step; weights are of the whole batch."""
        settings, data = self.settings, self.data
        width_n, plan = self._epoch(step // self.per_epoch)
        chosen_B = plan[step % self.per_epoch]
        mine = slice(rank, None, world)
        if settings.objective == "ar":
            targets = int((data.answer_n[chosen_B] + 1).sum())
            rows = [data.row(n) for n in chosen_B[mine]]
            return causal_batch(rows, data.prompt_n[chosen_B[mine]], targets, self.ids)
        rng = np.random.default_rng([settings.seed, 2, step])
        # Stratified: the times of a batch cover (0, 1] evenly, which lowers the variance of 1/t.
        time_B = rng.permutation(1 - (np.arange(settings.batch) + rng.random()) / settings.batch)
        hide_BC = rng.random((settings.batch, settings.canvas)) < time_B[:, None]
        return masked_batch(
            [data.row(n) for n in chosen_B[mine]],
            data.prompt_n[chosen_B[mine]],
            width_n[chosen_B[mine]],
            hide_BC[mine],
            1 / (time_B[mine] * settings.batch),
            self.ids,
        )

    def _draw_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Canvas widths [n], and the problems in the order of the epoch [steps, batch].

        Rows of a batch have similar lengths: pools of 16 batches are sorted, then their batches mixed.
        """
        settings, data = self.settings, self.data
        rng = np.random.default_rng([settings.seed, 1, epoch])
        width_n = rng.integers(data.answer_n + 1, settings.canvas + 1)
        width_n[rng.random(len(width_n)) < settings.full_canvas] = settings.canvas
        total_n = data.prompt_n + (width_n if settings.objective == "diffusion" else data.answer_n)
        order = rng.permutation(len(total_n))[: self.per_epoch * settings.batch]
        pools = [
            order[i : i + 16 * settings.batch] for i in range(0, len(order), 16 * settings.batch)
        ]
        pools = [pool[np.argsort(total_n[pool], kind="stable")] for pool in pools]
        mixed = [rng.permutation(pool.reshape(-1, settings.batch)) for pool in pools]
        return width_n, np.concatenate(mixed)


def masked_batch(
    rows: list[np.ndarray],
    prompt_B: np.ndarray,
    width_B: np.ndarray,
    hide_BC: np.ndarray,
    weight_B: np.ndarray,
    ids: SpecialIds,
) -> Batch:
    """Masked diffusion (LLaDA, eq. 3): read every hidden canvas position, weight ``weight_B`` / width."""
    length = int((prompt_B + width_B).max())
    tokens_BL = np.full((len(rows), length), ids.pad)
    hidden_BL = np.zeros((len(rows), length), dtype=bool)
    real_BL = np.arange(length) < (prompt_B + width_B)[:, None]
    for b, row in enumerate(rows):
        end = prompt_B[b] + width_B[b]
        tokens_BL[b, : len(row)] = row
        tokens_BL[b, len(row) : end] = ids.end
        hidden_BL[b, prompt_B[b] : end] = hide_BC[b, : width_B[b]]
    row_N, col_N = hidden_BL.nonzero()
    return _batch(
        np.where(hidden_BL, ids.mask, tokens_BL),
        real_BL,
        row_N,
        col_N,
        tokens_BL[hidden_BL],
        (weight_B / width_B)[row_N],
    )


def causal_batch(
    rows: list[np.ndarray], prompt_B: np.ndarray, targets: int, ids: SpecialIds
) -> Batch:
    """Next-token prediction of the answer and one end-of-text, mean over ``targets`` tokens."""
    length_B = np.array([len(row) for row in rows])
    tokens_BL = np.full((len(rows), int(length_B.max()) + 1), ids.pad)
    for b, row in enumerate(rows):
        tokens_BL[b, : len(row)] = row
        tokens_BL[b, len(row)] = ids.end
    column_L = np.arange(tokens_BL.shape[1])
    real_BL = column_L <= length_B[:, None]
    row_N, col_N = (real_BL & (column_L >= prompt_B[:, None])).nonzero()
    target_N = tokens_BL[row_N, col_N]
    return _batch(tokens_BL, real_BL, row_N, col_N - 1, target_N, np.full(len(row_N), 1 / targets))


def _batch(*arrays: np.ndarray) -> Batch:
    *integers, weight_N = map(torch.from_numpy, arrays)
    return Batch(*integers, weight_N.float())


# --- model and optimisers ----------------------------------------------------------------------


class Objective(nn.Module):
    """Batch to loss in one forward, so that DDP's hooks hold; the head reads scored positions only."""

    def __init__(self, model: Qwen3ForCausalLM, causal: bool) -> None:
        super().__init__()
        self.model, self.causal = model, causal

    def forward(self, batch: Batch) -> Tensor:
        # A right-padded causal row needs no mask; with one, SDPA would leave its fast causal path.
        hidden_BLD = self.model.model(
            input_ids=batch.tokens_BL,
            attention_mask=None if self.causal else batch.real_BL,
            is_causal=self.causal,
            use_cache=False,
        ).last_hidden_state
        logits_NV = self.model.lm_head(hidden_BLD[batch.row_N, batch.col_N])
        return (batch.weight_N * F.cross_entropy(logits_NV, batch.target_N, reduction="none")).sum()


def build_model(settings: Pretrain, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """A fresh model whose config says how it is to be decoded."""
    causal = settings.objective == "ar"
    shape = settings.model
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        head_dim=shape.hidden // shape.heads,
        max_position_embeddings=LONGEST,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config.is_causal = causal
    config.mask_token_id = tokenizer.mask_token_id
    config.diffucode = {
        "family": "native",
        "decoder": settings.objective,
        "readout_shift": causal,
        "canvas": settings.canvas,
        "steps": settings.canvas,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)  # transformers initialises from the global generator only
        return Qwen3ForCausalLM(config)


class Muon(torch.optim.Optimizer):
    """Momentum whose updates are orthogonalised (Jordan et al. 2024), for hidden matrices.

    torch.optim.Muon iterates in bfloat16, which is a hundred times slower than float32 on a CPU without
    bfloat16 units; this one iterates in the parameter's dtype, all matrices of a shape at once.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for p in group["params"]:
                shapes.setdefault(p.shape, []).append(p)
            for shape, parameters in shapes.items():
                directions = [self._direction(p, group["momentum"]) for p in parameters]
                scale = group["lr"] * max(1, shape[0] / shape[1]) ** 0.5
                for p, update in zip(
                    parameters, orthogonalize(torch.stack(directions)), strict=True
                ):
                    p.add_(update, alpha=-scale)

    def _direction(self, p: nn.Parameter, momentum: float) -> Tensor:
        """Nesterov momentum."""
        assert p.grad is not None
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(state["momentum"], momentum)


def orthogonalize(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Roughly U V^T of each U S V^T in [n, rows, columns]: Newton-Schulz, singular values 0.7 to 1.2."""
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if wide else x.mT


def build_optimizers(settings: Pretrain, model: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the embedding (which is the head) and the norms."""
    named = dict(model.named_parameters())
    matrices = {name for name, p in named.items() if p.ndim == 2 and ".layers." in name}
    return [
        Muon([named[name] for name in sorted(matrices)], lr=settings.muon_rate),
        torch.optim.AdamW(
            [p for name, p in named.items() if name not in matrices],
            lr=settings.adam_rate,
            betas=(0.9, 0.95),
            weight_decay=0.0,
        ),
    ]


def rate_at(settings: Pretrain, step: int) -> float:
    """Share of the peak rate at a step: linear warm-up, then linear decay to 0 over the whole run."""
    return min((step + 1) / max(settings.warmup, 1), 1 - step / settings.steps)


# --- the run -----------------------------------------------------------------------------------


def save_checkpoint(
    run: Run, step: int, model: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> None:
    """Weights, optimisers and step in one atomic file. Data and noise need no state."""
    buffer = io.BytesIO()
    state = {
        "step": step,
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    torch.save(state, buffer)
    write_atomic(run.folder / "checkpoint.pt", buffer.getvalue())


def load_checkpoint(run: Run, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> int:
    """Steps already done: 0 without a checkpoint."""
    file = run.folder / "checkpoint.pt"
    if not file.exists():
        return 0
    state = torch.load(file, weights_only=True, map_location="cpu")
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def export(model: Qwen3ForCausalLM, tokenizer: Path, folder: Path) -> None:
    """The model in bfloat16, with the files of its tokenizer, as transformers loads it."""
    copy = Qwen3ForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.bfloat16).save_pretrained(folder)
    shutil.copytree(tokenizer, folder, dirs_exist_ok=True)


def pretrain(settings: Pretrain) -> Path:
    """Run or continue the training; returns the folder of the finished model."""
    accelerator = Accelerator(mixed_precision="no")
    torch.set_num_threads(settings.threads)
    rank, world = accelerator.process_index, accelerator.num_processes
    with accelerator.main_process_first():
        run = open_run(settings.run, configs.dump(settings), {"seed": settings.seed})
        data, tokenizer = prepare(settings, run.folder)
    ids = SpecialIds(tokenizer.eos_token_id, tokenizer.mask_token_id, tokenizer.pad_token_id)
    batches = Batches(settings, data, ids)
    model = build_model(settings, tokenizer)
    optimizers = build_optimizers(settings, model)
    done = load_checkpoint(run, model, optimizers)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        run.rewind(done)
    objective, *prepared = accelerator.prepare(
        Objective(model, settings.objective == "ar"), *optimizers
    )

    loss_sum = torch.zeros((), device=accelerator.device)
    with progress(settings, accelerator.is_main_process) as bar:
        task = bar.add_task(settings.objective, total=settings.steps, completed=done, loss=math.nan)
        for step in range(done, settings.steps):
            batch = Batch(*(x.to(accelerator.device) for x in batches.at(step, rank, world)))
            loss = objective(batch)
            # DDP averages gradients over processes; the weights already sum over all of them.
            accelerator.backward(loss * world)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer, peak in zip(
                prepared, (settings.muon_rate, settings.adam_rate), strict=True
            ):
                for group in optimizer.param_groups:
                    group["lr"] = peak * rate_at(settings, step)
                optimizer.step()
                optimizer.zero_grad()
            loss_sum += loss.detach()
            if (step + 1) % settings.log_every == 0 or step + 1 == settings.steps:
                mean = accelerator.reduce(loss_sum, "sum").item() / (
                    (step % settings.log_every) + 1
                )
                loss_sum.zero_()
                bar.update(task, loss=mean)
                if accelerator.is_main_process:
                    run.log({"step": step + 1, "loss": mean, "rate": rate_at(settings, step)})
            bar.update(task, completed=step + 1)
            if accelerator.is_main_process and (
                (step + 1) % settings.checkpoint_every == 0 or step + 1 == settings.steps
            ):
                save_checkpoint(run, step + 1, model, optimizers)
    if accelerator.is_main_process:
        export(model, run.folder / "tokenizer", run.folder / "model")
    accelerator.wait_for_everyone()
    return run.folder / "model"


def progress(settings: Pretrain, shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
        disable=not shown,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", help="YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    try:
        pretrain(configs.load(Pretrain, arguments.config, arguments.overrides))
    except DiffucodeError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
