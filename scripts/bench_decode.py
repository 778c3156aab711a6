"""Our decoding loop against a plain transcription of the published one, on the same weights.

::

    published_loops.dream ──┐                      hooks on the model's body and head
                            ├──> one torch model <──────────────────────────────────── CPU seconds,
    diffucode.decoding ─────┘                                                          calls, rows

Both loops run the very same modules, timed by hooks. The *head* is everything from hidden states to
the logits of the open positions: in the published loop the projection of all positions, the shifted
copy and the gather of the open ones; in ours the projection of the open ones alone. What is left of a
run beside body and head is its *sampler*: all that a loop does with those logits, and its own
bookkeeping. Times are CPU seconds of
this process (on a shared machine wall time says little), medians over repetitions in which the loops
take turns to go first. A vocabulary of small models hides the head and the sampler, and a real one on
a small body is nothing but those, so there are several cases:

- ``7B-like``: a small body and a head of 8 % of its FLOPs, the proportion of a 7B model, and the
  bundled ``mini``: what a user sees from end to end;
- ``Qwen vocabulary``: V = 151,936 on a small body, with peaked logits (the usual case) and with flat
  ones (top-p needs most of the vocabulary).

*Groups* are the samples of a prompt, as reinforcement learning and pass@k draw them: in one batch, where
samples that still agree are read as one row, against the same samples in batches of different prompts.

"Same law" is our loop under the published loop's own rules (its grid, and an order that looks at the
tempered and truncated distribution); "ours" is the native plan.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import published_loops
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from diffucode.decoding.engine import Engine, decode, run
from diffucode.decoding.order import Entropy
from diffucode.decoding.plan import Request, SamplingPlan, dream_plan
from diffucode.errors import ModelNotFound
from diffucode.generate.prompted import Prompt, prepare
from diffucode.generate.settings import GenerateConfig
from diffucode.models.load import load
from diffucode.models.transformer import TransformerDenoiser
from diffucode.sampling.temperature import Constant
from diffucode.sampling.truncation import Truncation
from diffucode.tasks import minicode

TEMPERATURE, TOP_P = 0.3, 0.95
HEAD_SHARE = 0.08
"""Of the FLOPs of a position in a 7B model with Qwen's vocabulary."""


@dataclass(frozen=True)
class Sizes:
    """What a run of this script measures."""

    small_repeats: int
    small_canvas: int
    repeats: int
    canvas: int
    flat_canvas: int
    vocab: int = 151_936
    prompt: int = 64
    small_hidden: int = 256
    small_layers: int = 4
    hidden: int = 128
    layers: int = 2
    prompts: int = 48
    samples: int = 8
    temperatures: tuple[float, ...] = (0.3, 0.7, 1.0)


FULL = Sizes(small_repeats=7, small_canvas=64, repeats=7, canvas=32, flat_canvas=32)
QUICK = Sizes(
    small_repeats=3,
    small_canvas=32,
    repeats=1,
    canvas=32,
    flat_canvas=8,
    prompts=16,
    samples=4,
    temperatures=(0.7,),
)
SHRUNK = Sizes(
    small_repeats=1,
    small_canvas=6,
    repeats=1,
    canvas=6,
    flat_canvas=6,
    vocab=2_000,
    prompt=8,
    small_hidden=32,
    small_layers=1,
    hidden=32,
    layers=1,
    prompts=2,
    samples=3,
    temperatures=(0.7,),
)


# --- what is measured --------------------------------------------------------------------------


@dataclass(frozen=True)
class Spent:
    """One run: CPU seconds, forward passes, rows through the head, the final tokens."""

    total: float
    body: float
    head: float
    projection: float
    """The part of the head that is a matrix product."""
    calls: int
    rows: int
    tokens: list[int]

    @property
    def sampler(self) -> float:
        return self.total - self.body - self.head


class Meter:
    """CPU seconds, forward passes and rows through the head of whatever runs a model."""

    def __init__(self, model: Any) -> None:
        self.seconds = {"body": 0.0, "projection": 0.0, "read": 0.0}
        self.calls = self.rows = 0
        self._hooks = []
        for name, module in (("body", model.base_model), ("projection", model.lm_head)):
            self._hooks.append(module.register_forward_pre_hook(self._start(name)))
            self._hooks.append(module.register_forward_hook(self._stop(name)))

    def _start(self, name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any) -> None:
            self.seconds[name] -= time.process_time()

        return hook

    def _stop(self, name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            self.seconds[name] += time.process_time()
            if name == "body":
                self.calls += 1
            else:
                self.rows += output.shape[:-1].numel()

        return hook

    def read(self, z_BLV: Tensor, open_BL: Tensor) -> Tensor:
        """The published read-out, timed."""
        self.seconds["read"] -= time.process_time()
        z_NV = published_loops.open_logits(z_BLV, open_BL)
        self.seconds["read"] += time.process_time()
        return z_NV

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()


Loop = Callable[[Meter], list[int]]


def spend(model: Any, loop: Loop) -> Spent:
    """Run a loop once."""
    meter = Meter(model)
    begin = time.process_time()
    try:
        tokens = loop(meter)
    finally:
        total = time.process_time() - begin
        meter.close()
    seconds = meter.seconds
    head = seconds["projection"] + seconds["read"]
    return Spent(
        total, seconds["body"], head, seconds["projection"], meter.calls, meter.rows, tokens
    )


@dataclass(frozen=True)
class Case:
    """The repetitions of every loop on one model and prompt."""

    name: str
    runs: dict[str, list[Spent]]

    def cpu(self, loop: str, part: str) -> float:
        """Median CPU seconds of ``total``, ``body``, ``head`` or ``sampler``."""
        seconds: list[float] = [getattr(spent, part) for spent in self.runs[loop]]
        return median(seconds)

    def ratio(self, part: str, loop: str = "ours") -> float:
        """How many times as long the published loop takes."""
        return self.cpu("published", part) / self.cpu(loop, part)

    def first(self, loop: str) -> Spent:
        """A run, for what is the same in all of them: calls and rows."""
        return self.runs[loop][0]


def contest(name: str, denoiser: TransformerDenoiser, loops: dict[str, Loop], repeats: int) -> Case:
    """Run every loop ``repeats`` times; each repetition starts with the next loop."""
    runs: dict[str, list[Spent]] = {loop: [] for loop in loops}
    order = list(loops)
    for _ in range(repeats):
        for loop in order:
            runs[loop].append(spend(denoiser.model, loops[loop]))
        order = order[1:] + order[:1]
    return Case(name, runs)


# --- the two loops -----------------------------------------------------------------------------


def published_loop(
    denoiser: TransformerDenoiser,
    prompt: list[int],
    canvas: int,
    temperature: float,
    meter: Meter | None = None,
) -> list[int]:
    """The published loop at one commit a step, ordered by entropy; returns the final tokens."""
    model = denoiser.model

    def logits(tokens_BL: Tensor, attention_BL: Tensor | None) -> Tensor:
        hidden_BLd = model.base_model(input_ids=tokens_BL, use_cache=False).last_hidden_state
        if not denoiser.readout_shift:  # the loop is going to shift what this model does not
            hidden_BLd = hidden_BLd.roll(-1, dims=1)
        z_BLV: Tensor = model.get_output_embeddings()(hidden_BLd).float()
        return z_BLV

    assert denoiser.mask_id is not None
    with torch.random.fork_rng():
        torch.manual_seed(0)
        frames = published_loops.dream(
            logits,
            torch.tensor([prompt]),
            mask_id=denoiser.mask_id,
            max_new_tokens=canvas,
            steps=canvas,
            alg="entropy",
            temperature=temperature,
            top_p=TOP_P if temperature else None,
            read=meter.read if meter else None,
        )
    tokens: list[int] = frames[-1][0].tolist()
    return tokens


def our_loop(
    denoiser: TransformerDenoiser, prompt: list[int], canvas: int, plan: SamplingPlan
) -> list[int]:
    """Our loop on the same request; returns the final tokens."""
    request = Request.completion("bench", prompt, canvas, plan)
    tokens: list[int] = decode(denoiser, [request])[0].tokens.tolist()
    return tokens


NATIVE = SamplingPlan(
    temperature=Constant(TEMPERATURE),
    truncation=Truncation(top_p=TOP_P),
    order=Entropy(),
    retire=False,
)
"""One commit a step, ordered by the entropy of the model's own distribution."""


def same_law(canvas: int, temperature: float = TEMPERATURE) -> SamplingPlan:
    """The published loop's own law: its grid, and an order that looks at the truncated distribution."""
    top_p = TOP_P if temperature else None
    return dream_plan("entropy", steps=canvas, temperature=temperature, top_p=top_p)


# --- the cases ---------------------------------------------------------------------------------


def random_denoiser(
    vocab: int, hidden: int, layers: int, sharpness: float, terminators: tuple[int, ...] = (0,)
) -> TransformerDenoiser:
    """Random weights in Dream's architecture and 7B proportions; logits of std ``sharpness``.

    The mask id is the last one, and its logit is 0: on peaked logits nobody draws it.
    """
    config = Qwen2Config(
        vocab_size=vocab,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=1,
        intermediate_size=feed_forward(hidden),
        initializer_range=hidden**-0.5,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen2ForCausalLM(config).eval()
        with torch.no_grad():
            model.get_input_embeddings().weight.normal_()
            head = model.get_output_embeddings().weight
            head.normal_(std=sharpness * hidden**-0.5)[vocab - 1] = 0
    return TransformerDenoiser(
        model, mask_id=vocab - 1, terminator_ids=terminators, readout_shift=True
    )


def feed_forward(hidden: int) -> int:
    """5.25 times as wide, as in the 7B model."""
    return 21 * hidden // 4


def vocab_for(share: float, hidden: int, layers: int, context: int) -> int:
    """The vocabulary whose head is this share of the FLOPs of a position."""
    layer = 2 * (2 + 2 / 4) * hidden**2 + 6 * hidden * feed_forward(hidden) + 4 * context * hidden
    return round(share / (1 - share) * layers * layer / (2 * hidden))


def prompt_of(denoiser: TransformerDenoiser, length: int) -> list[int]:
    generator = torch.Generator().manual_seed(1)
    prompt: list[int] = torch.randint(
        1, denoiser.vocab_size - 1, (length,), generator=generator
    ).tolist()
    return prompt


def compare(
    name: str, denoiser: TransformerDenoiser, prompt: list[int], canvas: int, repeats: int
) -> Case:
    """The published loop, ours, and ours under the published law, at T = 0.3 and top-p 0.95."""
    loops: dict[str, Loop] = {
        "published": lambda meter: published_loop(denoiser, prompt, canvas, TEMPERATURE, meter),
        "ours": lambda _: our_loop(denoiser, prompt, canvas, NATIVE),
        "same law": lambda _: our_loop(denoiser, prompt, canvas, same_law(canvas)),
    }
    return contest(name, denoiser, loops, repeats)


def identical_at_t0(denoiser: TransformerDenoiser, prompt: list[int], canvas: int) -> bool:
    """Whether both loops end with the same tokens at temperature 0."""
    published = published_loop(denoiser, prompt, canvas, 0.0)
    return our_loop(denoiser, prompt, canvas, same_law(canvas, 0.0)) == published


@dataclass(frozen=True)
class Retirement:
    """Rows that end at their first terminator against rows that fill the whole canvas."""

    full_steps: int
    retired_steps: int
    exact: bool
    """Steps, forward passes and rows through the head are what the full run predicts, and every
    row has the same tokens up to its terminator."""


def retirement(rows: int = 8, canvas: int = 24) -> Retirement:
    """One token in eight is a terminator; the full run's trace says when each row could have left."""
    denoiser = random_denoiser(64, 64, 2, sharpness=1.0, terminators=tuple(range(8)))
    prompts = [prompt_of(denoiser, 4 + i) for i in range(rows)]

    def ended(plan: SamplingPlan) -> tuple[list[Any], int, int]:
        calls, read = denoiser.calls, denoiser.rows_read
        requests = [
            Request.completion(str(i), prompt, canvas, plan) for i, prompt in enumerate(prompts)
        ]
        done = decode(denoiser, requests, capacity=rows)
        return done, denoiser.calls - calls, denoiser.rows_read - read

    full, full_calls, _ = ended(NATIVE)
    retired, calls, read = ended(replace(NATIVE, retire=True))
    predicted, same = [], True
    for whole, part in zip(full, retired, strict=True):
        start = whole.trace.start
        ends = [
            i for i in range(start, len(whole.tokens)) if whole.tokens[i] in denoiser.terminator_ids
        ]
        end = ends[0] if ends else len(whole.tokens) - 1
        predicted.append(1 + int(whole.trace.step[start : end + 1].max()))
        same = same and (whole.tokens[: end + 1] == part.tokens[: end + 1]).all()
    exact = (
        [f.steps for f in retired] == predicted
        and calls == max(predicted)
        and full_calls == canvas
        and read == sum(canvas - step for steps in predicted for step in range(steps))
        and bool(same)
    )
    return Retirement(rows * canvas, sum(predicted), exact)


@dataclass(frozen=True)
class Groups:
    """The same samples, drawn with those of their prompt in a batch (together) or with others' (apart)."""

    samples: int
    temperature: float
    cpu: dict[str, float]
    """Seconds a sample."""
    read: dict[str, int]
    """Rows through the body."""
    same: bool
    """Whether tokens and the steps they were written in are."""

    @property
    def ratio(self) -> float:
        return self.cpu["apart"] / self.cpu["together"]


def groups(prompts: int, samples: int, temperature: float) -> Groups | None:
    """On the bundled model and its own problems; None where it is not bundled."""
    try:
        loaded = load("mini")
    except ModelNotFound:
        return None
    config = GenerateConfig(samples=samples, temperature=temperature, schedule="quota", steps=32)
    texts = [Prompt(one.id, one.prompt) for one in minicode.problems("rl", 0, prompts)]
    together = [job.request for job in prepare(loaded, texts, config).jobs()]
    cpu, read, written = {}, {}, {}
    for way, requests in (
        ("together", together),
        ("apart", sorted(together, key=lambda request: request.sample)),
    ):
        start = time.process_time()
        steps = list(run(Engine(loaded.denoiser, capacity=prompts), requests))
        cpu[way] = (time.process_time() - start) / len(requests)
        read[way] = sum(step.read for step in steps)
        done = [one for step in steps for one in step.finished]
        written[way] = {
            (one.request.id, one.request.sample, one.tokens.tobytes(), one.trace.step.tobytes())
            for one in done
        }
    return Groups(samples, temperature, cpu, read, written["together"] == written["apart"])


# --- the report --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    sizes: Sizes
    threads: int
    small: Case
    mini: Case | None
    peaked: Case
    flat: Case
    identical: bool
    retirement: Retirement
    groups: list[Groups]

    @property
    def rows_exact(self) -> bool:
        """Whether only open positions went through the head, one call a commit."""
        ours, canvas = self.peaked.first("ours"), self.sizes.canvas
        return ours.rows == canvas * (canvas + 1) // 2 and ours.calls == canvas

    @property
    def head_predicted(self) -> float:
        """The saving in the head if its time goes with its rows."""
        return self.peaked.first("published").rows / self.peaked.first("ours").rows

    def summary(self) -> dict[str, Any]:
        """The line of ``--json``."""
        mini = self.mini
        return {
            "end_to_end_ratio": round(self.small.ratio("total"), 3),
            "head_ratio": round(self.peaked.ratio("head"), 3),
            "sampler_ratio": round(self.peaked.ratio("sampler"), 3),
            "identical_at_t0": self.identical,
            "retirement_exact": self.retirement.exact,
            "projection_ratio": round(self.peaked.ratio("projection"), 3),
            "head_predicted": round(self.head_predicted, 3),
            "rows_exact": self.rows_exact,
            "sampler_ratio_flat": round(self.flat.ratio("sampler"), 3),
            "sampler_ratio_same_law": round(self.peaked.ratio("sampler", "same law"), 3),
            "sampler_ratio_flat_same_law": round(self.flat.ratio("sampler", "same law"), 3),
            "end_to_end_ratio_same_law": round(self.small.ratio("total", "same law"), 3),
            "end_to_end_ratio_mini": None if mini is None else round(mini.ratio("total"), 3),
            "retirement_step_ratio": round(
                self.retirement.full_steps / self.retirement.retired_steps, 3
            ),
            "groups_ratio": {g.temperature: round(g.ratio, 3) for g in self.groups},
            "groups_same": all(g.same for g in self.groups),
            "threads": self.threads,
            "repeats": self.sizes.repeats,
            "torch": torch.__version__,
        }

    @property
    def cases(self) -> list[Case]:
        return [case for case in (self.small, self.mini, self.peaked, self.flat) if case]

    def lines(self) -> list[tuple[str, ...]]:
        """The table, in the order of ``COLUMNS``; a line with a name alone starts a case."""
        needs = {
            (self.peaked.name, "head"): f"{max(4.0, 0.85 * self.head_predicted):.2f}",
            (self.peaked.name, "sampler"): "5",
            (self.flat.name, "sampler"): "1.5",
        }
        lines: list[tuple[str, ...]] = []
        for case in self.cases:
            lines.append((case.name, *[""] * 5))
            for part in ("total", "body", "head", "projection", "sampler"):
                seconds = [f"{case.cpu(loop, part):.3f} s" for loop in ("published", "ours")]
                ratios = [f"{case.ratio(part, loop):.2f}" for loop in ("ours", "same law")]
                need = needs.get((case.name, part), "")
                label = "  its projection" if part == "projection" else f"{part}, CPU"
                lines.append((label, *seconds, *ratios, need))
            for part, label in (("calls", "model calls"), ("rows", "rows in the head")):
                published, ours, same = (getattr(case.first(loop), part) for loop in case.runs)
                ratios = [f"{published / ours:.2f}", f"{published / same:.2f}"]
                lines.append((label, f"{published:,}", f"{ours:,}", *ratios, ""))
        r = self.retirement
        ratio = f"{r.full_steps / r.retired_steps:.2f}"
        exact = "as predicted" if r.exact else "NOT as predicted"
        lines.append(("retirement", *[""] * 5))
        lines.append(
            ("steps of all rows", f"{r.full_steps}", f"{r.retired_steps}", ratio, "", exact)
        )
        for g in self.groups:
            together, apart = (f"{g.cpu[way]:.4f} s" for way in ("together", "apart"))
            read = [f"{g.read[way]:,}" for way in ("apart", "together")]
            lines += [
                (f"groups of {g.samples}, T {g.temperature}: apart, together", *[""] * 5),
                ("CPU a sample", apart, together, f"{g.ratio:.2f}", "", ""),
                ("rows read", *read, f"{g.read['apart'] / g.read['together']:.2f}", "", ""),
                ("tokens and steps", "", "", "same" if g.same else "DIFFERENT", "", "same"),
            ]
        identical = "identical" if self.identical else "DIFFERENT"
        lines.append(("tokens at T = 0", "", "", "", identical, "identical"))
        return lines


COLUMNS = ("", "published", "ours", "ratio", "same law", "required")


def measure(sizes: Sizes, threads: int) -> Report:
    torch.set_num_threads(threads)
    context = sizes.prompt + sizes.small_canvas
    vocab = vocab_for(HEAD_SHARE, sizes.small_hidden, sizes.small_layers, context)
    small = random_denoiser(vocab, sizes.small_hidden, sizes.small_layers, sharpness=4.0)
    prompt = prompt_of(small, sizes.prompt)
    identical = identical_at_t0(small, prompt, sizes.small_canvas)
    name = f"7B-like, V {vocab:,}"
    small_case = compare(name, small, prompt, sizes.small_canvas, sizes.small_repeats)
    mini_case = mini_duel(sizes)
    cases = {}
    for kind, sharpness, canvas in (
        ("peaked", 8.0, sizes.canvas),
        ("flat", 0.05, sizes.flat_canvas),
    ):
        big = random_denoiser(sizes.vocab, sizes.hidden, sizes.layers, sharpness)
        prompt = prompt_of(big, sizes.prompt)
        if kind == "peaked":
            identical = identical and identical_at_t0(big, prompt, sizes.flat_canvas)
        name = f"V {sizes.vocab:,}, {kind}"
        cases[kind] = compare(name, big, prompt, canvas, sizes.repeats)
    return Report(
        sizes,
        threads,
        small_case,
        mini_case,
        cases["peaked"],
        cases["flat"],
        identical,
        retirement(),
        [g for t in sizes.temperatures if (g := groups(sizes.prompts, sizes.samples, t))],
    )


def mini_duel(sizes: Sizes) -> Case | None:
    """The bundled model on a prompt of its own kind; None where it is not bundled."""
    try:
        loaded = load("mini")
    except ModelNotFound:
        return None
    text = 'def f(numbers):\n    """Return the sum of the even numbers."""\n'
    prompt = loaded.tokenizer(text, add_special_tokens=False).input_ids
    return compare(
        "mini, bundled", loaded.denoiser, prompt, sizes.small_canvas, sizes.small_repeats
    )


def as_table(report: Report) -> Table:
    table = Table(title="published / ours: CPU seconds of one completion, medians")
    for i, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if i else "left", no_wrap=not i)
    for line in report.lines():
        if not any(line[1:]):
            table.add_section()
        table.add_row(*line)
    return table


def as_markdown(report: Report) -> str:
    lines = [COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1))]
    lines += [line if any(line[1:]) else (f"**{line[0]}**", *line[1:]) for line in report.lines()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(
    quick: Annotated[bool, typer.Option(help="Fewer repetitions, a shorter canvas.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON, nothing else.")
    ] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write the table to this file.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the model.")] = 1,
    shrink: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Time our decoding loop against the published one."""
    report = measure(SHRUNK if shrink else QUICK if quick else FULL, threads)
    if as_json:
        print(json.dumps(report.summary()))
    else:
        console = Console()
        console.print(as_table(report))
        console.print(
            f"{platform.machine()}, {threads} thread(s), torch {torch.__version__}, "
            f"medians of {report.sizes.repeats}"
        )
    if markdown is not None:
        markdown.write_text(as_markdown(report), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
