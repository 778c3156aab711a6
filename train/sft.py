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

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from accelerate import Accelerator

from diffucode.data import pairs
from diffucode.data.answers import AnswerBatches, Ids, Normaliser, Width, room
from diffucode.data.batches import Weighting
from diffucode.data.packed import Packed, pack_ids
from diffucode.data.pairs import Minicode, Source
from diffucode.errors import ConfigError, PromptError, TaskError
from diffucode.files import write_atomic
from diffucode.generate.prompted import speaker_of
from diffucode.models.build import recompute_layers
from diffucode.models.load import Loaded, load, saved_layout
from diffucode.models.lora import Lora, add_lora
from diffucode.models.specials import own_token
from diffucode.optimizer import Optimizer
from diffucode.processes import Precision, save_trained
from diffucode.runs import Run, command
from diffucode.tasks.prompts import Style
from diffucode.trackers import Tracker
from diffucode.training import Pace, check_written, learn, trained


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
    precision: Precision = "no"
    """What matrices are multiplied in: the dtype of the weights, or bfloat16."""
    lora: Lora | None = None
    """Train adapters, and keep the weights."""
    saved_as: str | None = None
    """dtype of the finished model. None: that of the weights."""
    gradient_checkpointing: bool = False
    compile: bool = False
    """torch.compile the layers."""
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
        check_written(self.log_every, self.checkpoint_every, self.saved_as)


# --- the model ---------------------------------------------------------------------------------


def open_model(settings: Sft, accelerator: Accelerator) -> Loaded:
    """The model to tune. Raises ConfigError for settings that it cannot follow."""
    loaded = load(settings.model, device=accelerator.device, dtype=settings.dtype)
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
    saved_layout(loaded)
    if settings.lora is not None:
        add_lora(loaded.denoiser.model, settings.lora, settings.seed)
    if settings.gradient_checkpointing:
        recompute_layers(loaded.denoiser.model)
    return loaded


def special_ids(settings: Sft, loaded: Loaded) -> Ids:
    """End, fill and mask; adds a fill to the tokenizer that lacks it."""
    tokenizer, chats = loaded.tokenizer, speaker_of(loaded)
    templated = chats.style(settings.prompt_style) == "chat"
    end = settings.end or (chats.end if templated else None) or tokenizer.eos_token
    fill = settings.fill or tokenizer.eos_token
    own_token(tokenizer, fill, loaded.denoiser.vocab_size)
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


# --- the run -----------------------------------------------------------------------------------


def train(settings: Sft) -> Path:
    """Run or continue a training; returns the folder of the finished model."""
    job = partial(fit, settings)
    return trained(settings, "sft", job, grad_norm=settings.grad_norm, batch=settings.batch)


def fit(settings: Sft, accelerator: Accelerator, run: Run) -> None:
    """All of a run between its folder and its page."""
    loaded = open_model(settings, accelerator)
    ids = special_ids(settings, loaded)
    with accelerator.main_process_first():
        data = prepare_data(settings, loaded, ids, run.folder, accelerator.is_main_process)
    batches = batches_of(settings, data, ids)
    pace = Pace(
        settings.steps or settings.epochs * batches.per_epoch,
        settings.optimizer,
        settings.grad_norm,
        settings.log_every,
        settings.checkpoint_every,
        settings.compile,
    )
    weights = learn(accelerator, run, batches, pace, loaded.denoiser)
    layout = saved_layout(loaded)
    finished = run.folder / "model"
    save_trained(weights, loaded, finished, layout=layout, dtype=settings.saved_as)


if __name__ == "__main__":
    command(Sft, train, __doc__)
