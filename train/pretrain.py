"""Train a small code model on minicode: by masked diffusion, from scratch or from an AR model, or as AR.

    accelerate launch train/pretrain.py --config configs/train/pretrain_mini.yaml steps=3000
    python train/pretrain.py --config configs/train/pretrain_mini.yaml run=runs/try

    examples ──> tokens ──> batch(step) ──> loss ──> Muon + AdamW ──> checkpoint ──> model/
    (seed)       data.npz   (seed, step)                 │
                                                         └──> dev problems decoded and checked

``diffusion`` is read in place and trained from scratch (LLaDA); ``adapt`` starts from an AR model, keeps
its read-out one column earlier, and opens its causal attention column by column over the first
``anneal`` steps (DiffuLLaMA, DiffuCoder); ``ar`` predicts the next token of the answer.

Everything random is a function of (seed, step), so a resumed run repeats the unbroken one bitwise on
one machine, process and thread count; the same command continues a run that was killed. The number of
processes and of rows at a time changes the rounding of a step, not its mathematics.
"""

from __future__ import annotations

import copy
import io
import multiprocessing
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from transformers.utils import logging

from diffucode import config as configs
from diffucode.data.batches import (
    Batch,
    Batches,
    Objective,
    SpecialIds,
    Steps,
    Weighting,
    annealed,
)
from diffucode.data.packed import Example, Packed, pack
from diffucode.data.tokenizer import train_tokenizer
from diffucode.errors import ConfigError
from diffucode.execution.sandbox import Sandbox
from diffucode.files import write_atomic
from diffucode.measure.greedy import pass_at_1
from diffucode.measure.problems import Known, Problems, ids
from diffucode.models.checkpoint import new_folder
from diffucode.models.load import find, load
from diffucode.models.scored import hidden_at
from diffucode.muon import Muon
from diffucode.runpage.page import write_page
from diffucode.runs import Run, bar, command, open_run
from diffucode.tasks import minicode
from diffucode.trackers import Tracker, follow, tracked

LONGEST = 512
"""Positions the saved model claims; prompts over it are refused by whoever loads it."""
CHUNK = 500
"""Examples that a process makes at a time."""
TOKENIZER_TEXTS = 20_000
"""Examples that the tokenizer learns from."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


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
    objective: Objective = "diffusion"
    init: str | None = None
    """The model to start from, a folder or a name; its tokenizer and shape are kept. adapt: an AR model.
    The others, to go on from: one that was trained for the same objective."""
    anneal: int = 500
    """adapt: steps until attention is full. 0: it is from the start."""
    seed: int = 0
    problems: int = 100_000
    """Examples drawn from minicode's train split."""
    others: float = 1.0
    """Share of the examples of other forms than code that is learnt from, drawn by seed."""
    canvas: int = 64
    """Answer positions of the plain form, and of the saved model; a shorter answer is filled up with
    end-of-text tokens, an example with a longer one is left out."""
    canvas_long: int = 128
    """Answer positions of the other forms."""
    block_length: int = 0
    """Positions of a block in the model's usual decoding; 0: it fills the whole canvas in any order."""
    threshold: float | None = None
    """Probability at which the model's usual decoding fills a position; None: so many a step."""
    full_canvas: float = 0.15
    """Share of rows with the whole canvas; the others get a random width between answer and canvas."""
    vocabulary: int = 1024
    model: Architecture = field(default_factory=Architecture)
    frontier: float = 0.0
    """Share of rows hidden from a random point on; the other rows' positions are hidden independently."""
    weighting: Weighting = "clipped"
    steps: int = 4500
    batch: int = 32
    """Rows of a step, over all processes."""
    rows: int = 16
    """Rows of a forward pass: about a thousand tokens stay in a core's caches."""
    warmup: int = 50
    """Steps of linear warm-up."""
    decay: float = 1.0
    """Last share of the steps, over which the rates fall linearly to 0. A model saved in mid-run has not
    seen that fall, and is worse for it."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """What matrices are multiplied in. Weights, optimisers, the residual stream, statistics and the loss
    are fp32 in either case. bf16 is faster where the processor has instructions for it (x86:
    avx512_bf16 or AMX), and slower elsewhere."""
    muon_rate: float = 0.02
    adam_rate: float = 3e-3
    threads: int = 1
    processes: int = 2
    """That make the examples."""
    loaders: int = 0
    """Processes that make batches ahead, for a GPU that would wait for them. 0: they are made in turn."""
    log_every: int = 20
    checkpoint_every: int = 200
    evaluate_every: int = 0
    """Steps between evaluations. 0: none."""
    evaluate_problems: int = 100
    """Problems of the dev split, decoded at temperature 0 at the model's usual pace."""
    keep: tuple[int, ...] = ()
    """Steps whose model is kept as a folder of its own, besides the last one's."""
    keep_evaluated: bool = False
    """Keep every model that is evaluated."""
    trackers: tuple[Tracker, ...] = ()
    """That get every row of metrics.jsonl as well."""

    def __post_init__(self) -> None:
        if self.checkpoint_every % self.log_every:
            raise ConfigError(
                f"checkpoint_every={self.checkpoint_every} is no multiple of log_every="
                f"{self.log_every}: a resumed run would log means over other steps"
            )
        if self.objective == "adapt" and self.init is None:
            raise ConfigError("init=None with objective=adapt: it needs an AR model to start from")
        if not 0 <= self.others <= 1:
            raise ConfigError(f"others={self.others}: expected a share, from 0 to 1")
        if self.objective == "ar" and (self.block_length or self.threshold is not None):
            raise ConfigError(
                f"block_length={self.block_length}, threshold={self.threshold}: an AR model writes one "
                "token a step"
            )
        if not 0 < self.decay <= 1:
            raise ConfigError(f"decay={self.decay}: expected a share of the steps, over 0 up to 1")


# --- data --------------------------------------------------------------------------------------


def texts(settings: Pretrain) -> Iterator[Example]:
    """The examples to learn from, in order."""
    starts = range(0, settings.problems, CHUNK)
    sizes = [min(CHUNK, settings.problems - start) for start in starts]
    arguments = (repeat("train"), repeat(settings.seed), sizes, starts)
    if len(starts) < 2 * settings.processes:
        yield from chain.from_iterable(map(minicode.examples, *arguments))
        return
    # spawn: the parent may run threads (gloo's, the tokenizer's), which a fork would cut off.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(settings.processes, context) as pool:
        yield from chain.from_iterable(pool.map(minicode.examples, *arguments))


def learnt(settings: Pretrain, examples: Iterable[Example]) -> Iterator[Example]:
    """The examples of form code, and a random share of the others."""
    rng = np.random.default_rng([settings.seed, 4])
    for example in examples:
        if rng.random() < settings.others or example.form == "code":
            yield example


def prepare_data(
    settings: Pretrain, folder: Path, shown: bool
) -> tuple[Packed, PreTrainedTokenizerFast]:
    """Tokenizer and tokenised examples, made once per run folder; prints how many did not fit."""
    packed_file, tokenizer_folder = folder / "data.npz", folder / "tokenizer"
    if not packed_file.exists():
        with bar("examples", shown) as progress:
            task = progress.add_task("", total=settings.problems, note="")
            made = []
            for example in texts(settings):
                made.append(example)
                progress.update(task, completed=len(made))
        if settings.init is None:
            corpus = (e.prompt + e.response for e in made[:TOKENIZER_TEXTS])
            tokenizer = train_tokenizer(corpus, settings.vocabulary, LONGEST)
        else:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(find(settings.init))
        tokenizer.save_pretrained(tokenizer_folder)
        canvas = {"code": settings.canvas}
        kept = list(learnt(settings, made))
        packed, dropped = pack(kept, tokenizer, canvas, settings.canvas_long, LONGEST)
        if shown:
            over = ", ".join(f"{n} {form}" for form, n in sorted(dropped.items())) or "none"
            print(f"{len(packed)} of {len(kept)} examples fit; over their canvas: {over}")
        write_atomic(packed_file, packed.dump())
    return Packed.load(packed_file), PreTrainedTokenizerFast.from_pretrained(tokenizer_folder)


def batches_of(settings: Pretrain, data: Packed, tokenizer: PreTrainedTokenizerFast) -> Batches:
    return Batches(
        data,
        SpecialIds(tokenizer.eos_token_id, tokenizer.mask_token_id, tokenizer.pad_token_id),
        objective=settings.objective,
        weighting=settings.weighting,
        batch=settings.batch,
        rows=settings.rows,
        full_canvas=settings.full_canvas,
        frontier=settings.frontier,
        seed=settings.seed,
    )


def upcoming(
    settings: Pretrain, batches: Batches, done: int, accelerator: Accelerator
) -> Iterable[list[Batch]]:
    """The batches of the steps that are left."""
    return DataLoader(
        Steps(batches, accelerator.process_index, accelerator.num_processes),
        batch_size=None,
        sampler=range(done, settings.steps),
        num_workers=settings.loaders,
        collate_fn=list,  # they are tensors already
        pin_memory=accelerator.device.type == "cuda",
        multiprocessing_context="spawn" if settings.loaders else None,
        generator=torch.Generator(),  # of the seeds of workers, which draw nothing
    )


# --- model and optimisers ----------------------------------------------------------------------


class Loss(nn.Module):
    """Batch to loss in one forward, so that DDP's hooks hold; the head reads scored positions only."""

    def __init__(
        self, model: Qwen3ForCausalLM, causal: bool, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.model, self.causal, self.dtype = model, causal, dtype

    def forward(self, batch: Batch, see_LL: Tensor | None = None) -> Tensor:
        tokens_BL, real_BL, row_N, col_N, target_N, weight_N = batch
        hidden_Nd = hidden_at(
            self.model,
            tokens_BL,
            real_BL,
            row_N,
            col_N,
            causal=self.causal,
            see_LL=see_LL,
            dtype=self.dtype,
        )
        logits_NV = F.linear(hidden_Nd, self.model.lm_head.weight.to(self.dtype)).float()
        return (weight_N * F.cross_entropy(logits_NV, target_N, reduction="none")).sum()


def visible(settings: Pretrain, step: int) -> Tensor | None:
    """Who sees whom in a step of the adaptation; None where everybody sees everybody, or AR."""
    if settings.objective != "adapt" or step + 1 >= settings.anneal:
        return None
    return annealed(LONGEST, (step + 1) / settings.anneal, settings.seed, step)


def build_model(settings: Pretrain, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """A fresh model, or the one to adapt; its config says how it is to be decoded."""
    causal, shape = settings.objective == "ar", settings.model
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
        "decoder": "ar" if causal else "diffusion",
        "readout_shift": settings.objective != "diffusion",
        "canvas": settings.canvas,
        "steps": settings.canvas if causal else settings.canvas // 2,
        "block_length": settings.block_length or None,
        "threshold": settings.threshold,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)  # transformers initialises from the global generator only
        model = Qwen3ForCausalLM(config)
    if settings.init is not None:
        start(model, settings.init, settings.objective)
    return model


def start(model: Qwen3ForCausalLM, name: str, objective: Objective) -> None:
    """Take over the weights of a model of the same shape that suits the objective."""
    loaded = load(name)
    wanted_decoder = "diffusion" if objective == "diffusion" else "ar"
    if loaded.decoder != wanted_decoder:
        raise ConfigError(
            f"init={name!r}: its decoder is {loaded.decoder}; objective={objective} starts from a model "
            f"whose decoder is {wanted_decoder}"
        )
    shifted = bool(loaded.config.get("diffucode", {}).get("readout_shift"))
    if objective == "diffusion" and shifted:
        raise ConfigError(
            f"init={name!r}: it is read one column earlier; objective=diffusion reads in place"
        )
    state, wanted = loaded.denoiser.model.state_dict(), model.state_dict()
    for key in wanted.keys() | state.keys():
        found = [list(d[key].shape) if key in d else None for d in (state, wanted)]
        if found[0] != found[1]:
            raise ConfigError(
                f"init={name!r}: {key} is {found[0]} there, {found[1]} under model=; state its shape"
            )
    model.load_state_dict(state)


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
            fused=True,
        ),
    ]


def rate_at(settings: Pretrain, step: int) -> float:
    """Share of the peak rate at a step: linear warm-up, constant, linear decay to 0 at the end."""
    left = 1 - step / settings.steps
    return min((step + 1) / max(settings.warmup, 1), left / settings.decay, 1.0)


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
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed after it
    with new_folder(folder) as building:
        copy.deepcopy(model).to(torch.bfloat16).save_pretrained(building)
        shutil.copytree(tokenizer, building, dirs_exist_ok=True)


@dataclass(frozen=True)
class Watch:
    """What is done with the model on the way; it leaves no trace in the training."""

    settings: Pretrain
    run: Run
    problems: list[Known]

    @classmethod
    def of(cls, settings: Pretrain, run: Run) -> Watch:
        """Raises SandboxError where programs are to be run and cannot be."""
        problems = []
        if settings.evaluate_every:
            asked = ids("dev", settings.seed, settings.evaluate_problems)
            problems = Problems(run.folder).get(asked)
            Sandbox(workers=1, tier="strongest").close()
        return cls(settings, run, problems)

    def look(self, step: int, model: Qwen3ForCausalLM) -> None:
        """Evaluate and keep the model as it is after ``step``, if it is to be."""
        settings, tokenizer = self.settings, self.run.folder / "tokenizer"
        every = settings.evaluate_every
        evaluated = every > 0 and (step % every == 0 or step == settings.steps)
        if step in settings.keep or (evaluated and settings.keep_evaluated):
            export(model, tokenizer, self.run.folder / "kept" / f"step-{step}")
        if not evaluated:
            return
        with TemporaryDirectory() as place, Sandbox(tier="strongest") as sandbox:
            export(model, tokenizer, Path(place) / "model")
            passed, valid = pass_at_1(sandbox, load(Path(place) / "model"), self.problems)
        self.run.log({"step": step, "dev_passed": passed, "dev_valid": valid})
        write_page(self.run.folder)


def train(settings: Pretrain) -> Path:
    """Run or continue the training; returns the folder of the finished model."""
    logging.disable_progress_bar()  # of every saved model
    accelerator = Accelerator(mixed_precision="no", **tracked(settings.trackers, settings.run))
    torch.set_num_threads(settings.threads)
    main = accelerator.is_main_process
    with accelerator.main_process_first():
        run = open_run(settings.run, configs.dump(settings), {"seed": settings.seed})
        data, tokenizer = prepare_data(settings, run.folder, main)
    run = follow(run, accelerator, settings.trackers, "pretrain", configs.dump(settings))
    batches = batches_of(settings, data, tokenizer)
    model = build_model(settings, tokenizer)
    optimizers = build_optimizers(settings, model)
    done = load_checkpoint(run, model, optimizers)
    accelerator.wait_for_everyone()
    if main:
        run.rewind(done)
    watch = Watch.of(settings, run) if main else None
    loss_of, *prepared = accelerator.prepare(
        Loss(model, settings.objective == "ar", DTYPES[settings.precision]), *optimizers
    )

    total = torch.zeros((), device=accelerator.device)
    with bar(settings.objective, main) as progress:
        task = progress.add_task("", total=settings.steps, completed=done, note="")
        ahead = upcoming(settings, batches, done, accelerator)
        for step, parts in enumerate(ahead, done):
            rate = rate_at(settings, step)
            total += backward(accelerator, loss_of, parts, visible(settings, step))
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            peaks = (settings.muon_rate, settings.adam_rate)
            for optimizer, peak in zip(prepared, peaks, strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = peak * rate
                optimizer.step()
                optimizer.zero_grad()
            finished = step + 1 == settings.steps
            if (step + 1) % settings.log_every == 0 or finished:
                mean = accelerator.reduce(total, "sum").item() / (step % settings.log_every + 1)
                total.zero_()
                progress.update(task, note=f"loss {mean:.3f}")
                if main:
                    run.log({"step": step + 1, "loss": mean, "rate": rate})
            if watch is not None:
                watch.look(step + 1, model)
                if (step + 1) % settings.checkpoint_every == 0 or finished:
                    save_checkpoint(run, step + 1, model, optimizers)
            progress.update(task, completed=step + 1)
    if main:
        export(model, run.folder / "tokenizer", run.folder / "model")
        write_page(run.folder)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return run.folder / "model"


def backward(
    accelerator: Accelerator, loss_of: nn.Module, parts: list[Batch], see_LL: Tensor | None
) -> Tensor:
    """Gradients of a step; returns this process' share of the loss."""
    device = accelerator.device
    total = torch.zeros((), device=device)
    see_LL = None if see_LL is None else see_LL.to(device)
    for part in parts:
        # Processes exchange gradients once a step, in the last backward pass.
        with nullcontext() if part is parts[-1] else accelerator.no_sync(loss_of):
            loss = loss_of(Batch._make(x.to(device, non_blocking=True) for x in part), see_LL)
            # DDP averages gradients over processes; the weights already sum over all of them.
            accelerator.backward(loss * accelerator.num_processes)
        total += loss.detach()
    return total


if __name__ == "__main__":
    command(Pretrain, train, __doc__)
