"""Train a code model on text: an AR model becomes a masked-diffusion one, or a diffusion model goes on.

    accelerate launch train/corpus.py --config configs/train/adapt_mini.yaml steps=100
    python train/corpus.py --config configs/train/adapt_diffucoder_7b.yaml --tokens

    corpora ──tokenizer──> tokens.bin ──windows──> batch(step) ──> loss ──> AdamW ──> checkpoint
    (JSONL, parquet, ...)  (shared by runs)        (seed, step)                          │
                                                                                     model/

An AR model keeps its weights and its read-out, one column earlier, gets a mask token, and its causal
attention opens column by column over the first ``anneal`` steps (DiffuLLaMA, DiffuCoder's stage 1). A
diffusion model goes on as it is (stage 2). Windows, boundaries of documents and what is hidden are described
in ``diffucode.data.corpus`` and ``diffucode.data.windows``.

Everything random is a function of (seed, step), so a resumed run repeats the unbroken one bitwise on one
machine, process and thread count; the same command continues a run that was killed, without reading what it
has read before. The number of processes and of rows at a time changes the rounding of a step, not its
mathematics. ``--tokens`` makes the files of tokens and ends: on a large corpus it takes hours of one
process, while the others would wait.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from diffucode import config as configs
from diffucode.data.answers import Normaliser
from diffucode.data.corpus import Corpus, Tokens, tokens_of
from diffucode.data.windows import TimeWeighting, WindowBatches, Windows
from diffucode.errors import ConfigError, DiffucodeError
from diffucode.models.adapt import adapt
from diffucode.models.build import recompute_layers
from diffucode.models.families.spec import Usual
from diffucode.models.load import Loaded, load, saved_layout
from diffucode.optimizer import Optimizer
from diffucode.processes import Precision, save_trained
from diffucode.runs import Run, bar
from diffucode.trackers import Tracker
from diffucode.training import Pace, check_written, learn, trained


@dataclass(frozen=True)
class CorpusTraining:
    sources: tuple[Corpus, ...]
    """The corpora, mixed by their weights in every step."""
    model: str = "mini-ar"
    """An AR model to adapt, or a diffusion model to go on with: anything that ``load`` opens."""
    output_dir: str = "runs/corpus"
    tokens: str | None = None
    """Folder of the files of tokens; runs with the same tokenizer share them. None: the run's own."""
    seed: int = 0
    anneal: int = 0
    """Adaptation: steps until attention is full. 0: it is from the start."""
    mask: str = "<|mask|>"
    """Adaptation: the token of hidden positions, where the model names none. One that the tokenizer lacks is
    added to it, if the model has a row of its embedding to spare."""
    added: tuple[str, ...] = ()
    """Adaptation: tokens that are added before the mask, so that it gets the id that it has elsewhere."""
    usual: Usual = field(default_factory=Usual)
    """Adaptation: how the model is to be decoded where nothing else is asked. Not for Qwen2 models, which are
    saved in Dream's layout."""
    end: str | None = None
    """The token behind every document. None: end-of-text."""
    length: int = 256
    """Positions of a row."""
    short: float = 0.01
    """Share of rows that are cut at a random length (LLaDA)."""
    clean: float = 0.01
    """Share of rows with nothing hidden before a random point."""
    weighting: TimeWeighting = "bound"
    normaliser: Normaliser = "masked"
    least_time: float = 1e-3
    """The share of a row that is hidden is uniform from this to 1."""
    steps: int = 1000
    batch: int = 32
    """Rows of a step, over all processes."""
    rows: int = 8
    """Rows of a forward and backward pass: memory, not mathematics."""
    optimizer: Optimizer = field(default_factory=lambda: Optimizer(rate=2e-5))
    grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    threads: int = 1
    dtype: str = "float32"
    """Of weights, gradients and the optimiser. In bfloat16 a weight forgets steps below 1/256 of it."""
    precision: Precision = "no"
    """What matrices are multiplied in: the dtype of the weights, or bfloat16."""
    saved_as: str | None = None
    """dtype of the finished model. None: that of the weights."""
    gradient_checkpointing: bool = False
    log_every: int = 10
    checkpoint_every: int = 100
    trackers: tuple[Tracker, ...] = ()
    """That get every row of metrics.jsonl as well."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "rows", "log_every", "checkpoint_every"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"{name} {value}: expected at least 1")
        if not self.sources:
            raise ConfigError("sources: expected at least one corpus")
        if self.length < 2 or self.anneal < 0:
            raise ConfigError(
                f"length {self.length}, anneal {self.anneal}: expected at least 2 positions and 0 steps"
            )
        for name in ("short", "clean", "least_time"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ConfigError(f"{name} {value}: expected a share from 0 to 1")
        if not self.grad_norm > 0:
            raise ConfigError(f"grad_norm {self.grad_norm}: expected a norm over 0")
        check_written(self.log_every, self.checkpoint_every, self.saved_as)


# --- the model ---------------------------------------------------------------------------------


def open_model(settings: CorpusTraining, device: torch.device) -> Loaded:
    """The model to train. Raises ConfigError for settings that it cannot follow."""
    loaded = load(settings.model, device=device, dtype=settings.dtype)
    if settings.length > loaded.limit:
        raise ConfigError(
            f"length {settings.length}: {settings.model} was built for {loaded.limit} positions"
        )
    if loaded.decoder == "ar":
        loaded = adapt(loaded, settings.mask, settings.usual, settings.added)
        if saved_layout(loaded) != "native" and settings.usual != Usual():
            raise ConfigError(
                f"usual {asdict(settings.usual)}: the layout of {loaded.family} cannot hold it"
            )
    elif settings.anneal or settings.added or settings.usual != Usual():
        raise ConfigError(
            f"anneal {settings.anneal}, added {settings.added}, usual {asdict(settings.usual)}: "
            f"{settings.model} is a diffusion model already; they belong to the adaptation of an AR model"
        )
    saved_layout(loaded)
    if settings.gradient_checkpointing:
        recompute_layers(loaded.denoiser.model)
    return loaded


# --- data --------------------------------------------------------------------------------------


def end_of(settings: CorpusTraining, loaded: Loaded) -> int:
    token, vocabulary = settings.end or loaded.tokenizer.eos_token, loaded.tokenizer.get_vocab()
    if token not in vocabulary:
        raise ConfigError(f"end {token!r}: no token of {settings.model}")
    return int(vocabulary[token])


def prepare_data(
    settings: CorpusTraining, loaded: Loaded, folder: Path, shown: bool
) -> list[Tokens]:
    """The tokens of every corpus, made where they are lacking; prints what there is."""
    mask = loaded.denoiser.mask_id
    assert mask is not None, "a diffusion model has a mask"
    end, found = end_of(settings, loaded), []
    for corpus in settings.sources:
        with bar(corpus.files, shown) as progress:
            task = progress.add_task("", total=None, note="documents")

            def seen(documents: int, task: Any = task, progress: Any = progress) -> None:
                progress.update(task, completed=documents)

            one = tokens_of(corpus, loaded.tokenizer, end=end, mask=mask, folder=folder, seen=seen)
            progress.update(task, total=one.documents, completed=one.documents)
        found.append(one)
        if len(one.token_T) < settings.length:
            raise ConfigError(
                f"length {settings.length}: {corpus.files} has {len(one.token_T)} tokens, not one row"
            )
        if shown:
            why = "; ".join(f"{n} x {reason}" for reason, n in one.left_out.items()) or "nothing"
            counts = f"{len(one.token_T)} tokens, {one.documents} documents"
            print(f"{corpus.files}: {counts}; left out: {why}")
    return found


def batches_of(settings: CorpusTraining, loaded: Loaded, corpora: list[Tokens]) -> WindowBatches:
    mask, weight_K = loaded.denoiser.mask_id, np.array([one.weight for one in settings.sources])
    assert mask is not None, "a diffusion model has a mask"
    sources = [
        Windows(one.token_T, settings.length, settings.seed, number)
        for number, one in enumerate(corpora)
    ]
    return WindowBatches(
        sources,
        weight_K / weight_K.sum(),
        mask=mask,
        shift=loaded.denoiser.readout_shift,
        length=settings.length,
        weighting=settings.weighting,
        normaliser=settings.normaliser,
        least_time=settings.least_time,
        short=settings.short,
        clean=settings.clean,
        anneal=settings.anneal,
        steps=settings.steps,
        batch=settings.batch,
        rows=settings.rows,
        seed=settings.seed,
    )


# --- the run -----------------------------------------------------------------------------------


def tokens_folder(settings: CorpusTraining) -> Path:
    return Path(settings.tokens or f"{settings.output_dir}/tokens")


def train(settings: CorpusTraining) -> Path:
    """Run or continue a training; returns the folder of the finished model."""
    job = partial(fit, settings)
    return trained(settings, "corpus", job, grad_norm=settings.grad_norm, batch=settings.batch)


def fit(settings: CorpusTraining, accelerator: Accelerator, run: Run) -> None:
    """All of a run between its folder and its page."""
    loaded = open_model(settings, accelerator.device)
    with accelerator.main_process_first():
        corpora = prepare_data(
            settings, loaded, tokens_folder(settings), accelerator.is_main_process
        )
    batches = batches_of(settings, loaded, corpora)
    pace = Pace(
        settings.steps,
        settings.optimizer,
        settings.grad_norm,
        settings.log_every,
        settings.checkpoint_every,
    )
    weights = learn(accelerator, run, batches, pace, loaded.denoiser)
    layout = saved_layout(loaded)
    finished = run.folder / "model"
    save_trained(weights, loaded, finished, layout=layout, dtype=settings.saved_as)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", help="YAML file")
    parser.add_argument("--tokens", action="store_true", help="only tokenise the corpora")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    try:
        settings = configs.load(CorpusTraining, arguments.config, arguments.overrides)
        if arguments.tokens:
            loaded = open_model(settings, torch.device("cpu"))
            prepare_data(settings, loaded, tokens_folder(settings), shown=True)
        else:
            train(settings)
    except DiffucodeError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
