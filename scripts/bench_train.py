"""Our policy update against a plain transcription of the published one, on the same weights.

::

                      ┌── published_update: three passes, all logits, row by row ──┐
    masks, old and    │                                                            │   loss, gradient,
    reference log- ───┼── ... parts of the way from there to here ...              ├── saved bytes,
    probs, advantages │                                                            │   live bytes, CPU
                      └── rl.step.iterate: targets alone, in chunks of 256 rows ───┘

Both paths run the very same modules on the same masks in float32: the plan of ``Coupled`` with
the published weights and one time for all rows, bnpo with the weights inside the ratio, the second of two
iterations, so that ratios differ from 1 and some are clipped. Rows are one prompt length, as the
published update knows no padding. What is measured:

- *saved*: bytes of the tensors that the backward pass was promised, each storage once, parameters apart;
  and where logits are made again in the backward pass, the largest lot of them that is;
- *live*: the most bytes of all tensors alive at once from forward to optimiser step, gradients included,
  what existed before apart;
- *CPU*: seconds of this process from forward to optimiser step (clipping and plain SGD in all of them),
  medians over repetitions in which the ways take turns to go first.
"""

from __future__ import annotations

import json
import platform
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import published_update
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from diffucode.decoding.trace import Trace, blank
from diffucode.models.toy import tiny_transformer
from diffucode.models.transformer import TransformerDenoiser
from diffucode.rl.likelihood import Targets
from diffucode.rl.masking import Count, Coupled, Keyed
from diffucode.rl.objective import Bnpo
from diffucode.rl.step import Alone, Batch, Prepared, Stepped, Update, iterate, prepare

EPSILON, BETA = 0.5, 0.01
TOLERANCE = 1e-5
MEMORY_TARGET, TIME_TARGET = 1 / 3, 1 / 2


@dataclass(frozen=True)
class Sizes:
    """What a run of this script measures; prompt and completion are in the recipe's proportion."""

    repeats: int = 3
    """0: the time is that of the one run in which everything is counted."""
    vocab: int = 151_936
    rows: int = 8
    prompt: int = 50
    completion: int = 64
    hidden: int = 128
    layers: int = 2
    chunk: int = 256
    parts: bool = True
    """Whether the ways in between are measured, and decoupled masks."""
    share: float = 0.5
    """Masked share of the completion: the time of the pair of views."""


QUICK = Sizes(repeats=0, rows=6, hidden=64, layers=1, parts=False)


# --- one update, as all ways are given it ------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A policy and an update that is prepared and not yet made."""

    policy: TransformerDenoiser
    optimizer: torch.optim.Optimizer
    update: Update
    prepared: Prepared
    index: int
    """Which of the update's iterations."""


@dataclass(frozen=True)
class Given:
    """What the published update needs of a task."""

    tokens_BL: Tensor
    copies: published_update.Copies
    old_BC: Tensor | None
    """None in a first iteration: the new ones, without gradient."""
    ref_BC: Tensor
    counted_BC: Tensor
    advantage_B: Tensor


def faithful(times: tuple[float, float], rows: int) -> Update:
    """Our update in the published form."""
    return Update(
        Coupled("paper", times=times, shared_time=True),
        Bnpo(eps_low=EPSILON, eps_high=EPSILON, beta=BETA, weight_in_ratio=True),
        iterations=2,
        rows=rows,
    )


def given(task: Task) -> Given:
    """The same masks, log-probabilities and advantages in the published layout."""
    rows, part = task.prepared.rows, task.prepared.iterations[task.index]
    canvas, targets = rows.canvas, Targets.of(part.plan, rows.canvas)
    (start,) = set(canvas.start_B.tolist())
    assert canvas.real_BL.all() and task.policy.mask_id is not None

    def estimates(value_N: Tensor) -> Tensor:
        each_BL = targets.weight_N.new_zeros(canvas.shape)
        weighted_N = targets.weight_N * value_N
        each_BL.index_put_((targets.row_N, targets.col_N), weighted_N, accumulate=True)
        return each_BL[:, start:].float()

    assert part.ref_N is not None and isinstance(task.update.estimator, Coupled)
    (low, high), batch = task.update.estimator.times, task.prepared.batch
    drawn = Keyed(
        rows.scored_BL.sum(1),
        canvas.key_B2,
        batch.seed,
        batch.step * task.update.iterations + task.index,
    )
    return Given(
        tokens_BL=canvas.tokens_BL,
        copies=published_update.copies(
            canvas.tokens_BL,
            start,
            part.plan.hidden_KBL[1],
            low + (high - low) * float(drawn.shared_level(0)[0]),  # not by way of our weights
            mask_id=task.policy.mask_id,
            always_BL=canvas.open_BL,
        ),
        old_BC=None if part.old_N is None else estimates(part.old_N),
        ref_BC=estimates(part.ref_N),
        counted_BC=rows.scored_BL[:, start:],
        advantage_B=task.prepared.batch.advantage_B,
    )


# --- the ways ----------------------------------------------------------------------------------


def ours(task: Task, sync: Alone) -> float:
    return ours_in_full(task, sync).loss


def ours_in_full(task: Task, sync: Alone) -> Stepped:
    return iterate(task.policy, task.optimizer, task.prepared, task.index, task.update, sync)


def published(
    task: Task, sync: Alone, select: published_update.Select = published_update.row_by_row
) -> float:
    """The transcription, on the whole model with its own head."""
    known, model = given(task), task.policy.model
    new_BC = published_update.log_probabilities(
        lambda tokens_BL: model(input_ids=tokens_BL, use_cache=False).logits,
        known.tokens_BL,
        known.copies,
        select,
    )
    return _made(task, known, new_BC, sync)


def without_loop(task: Task, sync: Alone) -> float:
    """The transcription with one log-softmax over all rows."""
    return published(task, sync, published_update.all_rows)


def targets_alone(task: Task, sync: Alone) -> float:
    """Only what is read goes through the head, all at once and nothing made again: part of our way."""
    known, model = given(task), task.policy.model
    masked_BC, weight_3 = known.copies.masked_BC, known.copies.weight_3
    rows, width = masked_BC.shape
    hidden_3BLd = model.base_model(
        input_ids=known.copies.inputs_3BL, use_cache=False
    ).last_hidden_state
    full, one, other = hidden_3BLd[:, :-1][:, -width:].unflatten(0, (3, rows))
    partial = torch.where(masked_BC[..., None], one, other)
    logits_2BCV = model.get_output_embeddings()(torch.stack([full, partial]))
    label_2BC1 = known.tokens_BL[:, -width:].expand(2, -1, -1)[..., None]
    each_2BC = logits_2BCV.log_softmax(-1).gather(-1, label_2BC1)[..., 0]
    weight_BC = torch.where(masked_BC, weight_3[1], weight_3[2])
    return _made(task, known, (each_2BC[0] + weight_BC * each_2BC[1]) / 2, sync)


def _made(task: Task, known: Given, new_BC: Tensor, sync: Alone) -> float:
    loss = published_update.loss(
        new_BC,
        new_BC.detach() if known.old_BC is None else known.old_BC,
        known.ref_BC,
        known.advantage_B,
        known.counted_BC,
        epsilon=EPSILON,
        beta=BETA,
    )
    sync.backward(loss)
    sync.clip(task.policy.parameters(), task.update.grad_norm)
    task.optimizer.step()
    task.optimizer.zero_grad()
    return float(loss.detach())


Way = Callable[[Task, Alone], float]
"""Make the update; returns the loss."""


# --- what is measured --------------------------------------------------------------------------


class Kept(Alone):
    """One process that keeps the gradient, which it does not clip."""

    def __init__(self) -> None:
        self.gradient: list[Tensor] = []

    def clip(self, parameters: Iterator[nn.Parameter], norm: float) -> Tensor:
        self.gradient = [p.grad for p in parameters if p.grad is not None]
        return torch.stack([grad.norm() for grad in self.gradient]).norm()


class Live(TorchDispatchMode):
    """The most bytes of tensors alive at once, counted after every operation inside."""

    def __init__(self, before: Sequence[Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in before}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._see(leaf.untyped_storage())
        return out

    def _see(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._known:
            self._known.add(storage._cdata)
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())

    def _gone(self, name: int, size: int) -> None:
        self._known.discard(name)
        self.now -= size


@dataclass(frozen=True)
class Held:
    """One update: its result, and what it held on the way."""

    loss: float
    gradient: list[Tensor]
    saved: int
    """Bytes, a recomputed lot of logits included."""
    live: int
    """Bytes."""
    calls: int
    """Forward passes: rows of tokens through the body."""
    read: tuple[int, int]
    """Rows through the head, forward and again in the backward pass."""
    cpu: float
    """Seconds, of counting too."""


def hold(task: Task, way: Way) -> Held:
    """Make the update once, counting."""
    parameters = list(task.policy.parameters())
    own = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    saved: dict[int, int] = {}
    lots: list[tuple[bool, int, int]] = []  # again, rows, bytes
    calls, sync = 0, Kept()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    def through_body(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        nonlocal calls
        calls += len(kwargs["input_ids"])

    def through_head(module: Any, args: Any, output: Tensor) -> None:
        again = torch._C._current_graph_task_id() >= 0  # inside a backward pass
        lots.append((again, output.shape[:-1].numel(), output.nbytes))

    model = task.policy.model
    hooks = [
        model.base_model.register_forward_hook(through_body, with_kwargs=True),
        model.get_output_embeddings().register_forward_hook(through_head),
    ]
    try:
        with (
            Live(parameters) as live,
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        ):
            begin = time.process_time()
            loss = way(task, sync)
            cpu = time.process_time() - begin
    finally:
        for hook in hooks:
            hook.remove()
    remade = max((size for again, _, size in lots if again), default=0)
    first, second = (
        sum(rows for again, rows, _ in lots if again is wanted) for wanted in (False, True)
    )
    held = sum(saved.values()) + remade
    return Held(loss, sync.gradient, held, live.most, calls, (first, second), cpu)


def seconds(tasks: dict[str, tuple[Task, Way]], repeats: int) -> dict[str, float]:
    """Median CPU seconds of every way; each repetition starts with the next."""
    spent: dict[str, list[float]] = {name: [] for name in tasks}
    order = list(tasks)
    for _ in range(repeats):
        for name in order:
            task, way = tasks[name]
            begin = time.process_time()
            way(task, Alone())
            spent[name].append(time.process_time() - begin)
        order = order[1:] + order[:1]
    return {name: median(values) for name, values in spent.items()}


@dataclass(frozen=True)
class Difference:
    """How far one update is from another."""

    loss: float
    """Relative."""
    gradient: float
    """The norm of the difference over the norm; or the largest difference of an entry over the largest
    entry, whichever is more."""

    @property
    def equal(self) -> bool:
        return max(self.loss, self.gradient) <= TOLERANCE


def difference(found: Held, wanted: Held) -> Difference:
    pairs = list(zip(found.gradient, wanted.gradient, strict=True))
    apart = torch.stack([torch.stack([(a - b).norm(), (a - b).abs().max()]) for a, b in pairs])
    whole = torch.stack([torch.stack([b.norm(), b.abs().max()]) for _, b in pairs])
    by_norm = apart[:, 0].norm() / whole[:, 0].norm()
    by_entry = apart[:, 1].max() / whole[:, 1].max()
    return Difference(
        abs(found.loss - wanted.loss) / abs(wanted.loss), float(torch.maximum(by_norm, by_entry))
    )


# --- the update that is measured ---------------------------------------------------------------


def written(
    policy: TransformerDenoiser, rows: int, prompt: int, completion: int
) -> tuple[Trace, ...]:
    """Completions of random tokens, without terminator, as a decoder leaves them."""
    generator, traces = torch.Generator().manual_seed(1), []
    for b in range(rows):
        trace = blank("bench", b, 0, prompt, prompt + completion, 0)
        token_L = torch.randint(1, policy.vocab_size - 1, trace.token.shape, generator=generator)
        trace.token[:], trace.given[:prompt] = token_L.numpy(), True
        trace.step[prompt:], trace.rank[prompt:] = range(completion), 0
        traces.append(trace)
    return tuple(traces)


def nudge(policy: nn.Module, scale: float, seed: int = 2) -> None:
    """A step of the optimiser, as it were: noise of ``scale`` times their own size on all weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in policy.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight += scale * weight.square().mean().sqrt() * noise


def task_of(
    policy: TransformerDenoiser,
    traces: tuple[Trace, ...],
    update: Update,
    *,
    index: int = 1,
    nudged: float = 0.1,
    seed: int = 0,
) -> Task:
    """Old and reference policy are what ``policy`` was before the nudge."""
    generator = torch.Generator().manual_seed(seed)
    reward_B = torch.rand(len(traces), generator=generator)
    batch = Batch(traces, reward_B - reward_B.mean(), step=0, seed=seed)
    prepared = prepare(policy, batch, update, Alone(), policy)
    nudge(policy, nudged)
    return Task(policy, torch.optim.SGD(policy.parameters(), lr=0.0), update, prepared, index)


def decoupled(task: Task) -> Task:
    """Three independent views instead of a mask and a pair: as many passes, no divergence."""
    update = replace(task.update, estimator=Count(3), objective=Bnpo(), iterations=1)
    prepared = prepare(task.policy, task.prepared.batch, update, Alone())
    return replace(task, update=update, prepared=prepared, index=0)


# --- the report --------------------------------------------------------------------------------


COUPLED: dict[str, Way] = {
    "published": published,
    "without its loop": without_loop,
    "and its targets alone": targets_alone,
    "ours": ours,
}
DECOUPLED = "ours, decoupled"


@dataclass(frozen=True)
class Report:
    sizes: Sizes
    threads: int
    held: dict[str, Held]
    cpu: dict[str, float]
    off: Difference
    clipped: float
    """Share of the ratios that a bound took the gradient of."""

    def ratio(self, figure: str, way: str = "ours") -> float:
        """Ours over published."""
        if figure == "cpu":
            return self.cpu[way] / self.cpu["published"]
        each: list[int] = [getattr(self.held[name], figure) for name in (way, "published")]
        return each[0] / each[1]

    def summary(self) -> dict[str, Any]:
        """The line of ``--json``."""
        mine, theirs = self.held["ours"], self.held["published"]
        return {
            "memory_ratio": round(self.ratio("saved"), 4),
            "time_ratio": round(self.ratio("cpu"), 4),
            "equal": self.off.equal,
            "loss_difference": self.off.loss,
            "gradient_difference": self.off.gradient,
            "live_ratio": round(self.ratio("live"), 4),
            "saved_bytes": [mine.saved, theirs.saved],
            "live_bytes": [mine.live, theirs.live],
            "cpu_seconds": [round(self.cpu[way], 3) for way in ("ours", "published")],
            "forward_passes": [mine.calls, theirs.calls],
            "head_rows": [sum(mine.read), sum(theirs.read)],
            "clipped": round(self.clipped, 4),
            "vocab": self.sizes.vocab,
            "chunk": self.sizes.chunk,
            "threads": self.threads,
            "repeats": self.sizes.repeats,
            "torch": torch.__version__,
        }

    def lines(self) -> list[tuple[str, ...]]:
        """The table, in the order of ``COLUMNS``."""
        lines: list[tuple[str, ...]] = []
        for way, held in self.held.items():
            first, again = held.read
            read = f"{first:,} + {again:,}" if again else f"{first:,}"
            figures = {
                "saved": f"{held.saved / 1e6:,.0f} MB",
                "live": f"{held.live / 1e6:,.0f} MB",
                "cpu": f"{self.cpu[way]:.2f} s",
            }
            cells = [f"{text} ({self.ratio(name, way):.2f})" for name, text in figures.items()]
            lines.append((way, *cells, f"{held.calls}", read))
        required = [f"({target:.2f})" for target in (MEMORY_TARGET, TIME_TARGET)]
        lines.append(("required", required[0], "", required[1], "", ""))
        return lines

    @property
    def verdict(self) -> str:
        word = "equal" if self.off.equal else "NOT EQUAL"
        return (
            f"ours and published are {word}: loss {self.off.loss:.1e}, gradient {self.off.gradient:.1e} "
            f"apart (relative, at most {TOLERANCE:.0e}); {self.clipped:.1%} of the ratios clipped"
        )


COLUMNS = ("", "saved", "live", "CPU", "passes", "rows in the head")


def measure(sizes: Sizes, threads: int) -> Report:
    torch.set_num_threads(threads)
    policy = tiny_transformer(
        sizes.vocab,
        sizes.layers,
        sizes.hidden,
        shift=True,
        head_bytes=4 * sizes.vocab * sizes.chunk,
    )
    traces = written(policy, sizes.rows, sizes.prompt, sizes.completion)
    task = task_of(policy, traces, faithful((sizes.share, sizes.share), sizes.rows))
    tasks: dict[str, tuple[Task, Way]] = {name: (task, way) for name, way in COUPLED.items()}
    if sizes.parts:
        tasks[DECOUPLED] = (decoupled(task), ours)
    else:
        tasks = {name: tasks[name] for name in ("published", "ours")}
    stepped: list[Stepped] = []

    def noted(task: Task, sync: Alone) -> float:
        stepped.append(ours_in_full(task, sync))
        return stepped[0].loss

    held = {"published": hold(task, published), "ours": hold(task, noted)}
    off = difference(held["ours"], held["published"])
    for name in ("published", "ours"):
        held[name].gradient.clear()
    for name, (each, way) in tasks.items():
        if name not in held:
            held[name] = hold(each, way)
            held[name].gradient.clear()
    means = stepped[0].metrics.means()
    cpu = {name: one.cpu for name, one in held.items()}
    return Report(
        sizes,
        threads,
        {name: held[name] for name in tasks},
        seconds(tasks, sizes.repeats) if sizes.repeats else cpu,
        off,
        means["clipped_low"] + means["clipped_high"],
    )


def as_table(report: Report) -> Table:
    table = Table(title="One update; ratios are to the published one")
    for i, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if i else "left", no_wrap=not i)
    for line in report.lines():
        table.add_row(*line)
    return table


def as_markdown(report: Report) -> str:
    lines = [COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1)), *report.lines()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + f"\n{report.verdict}.\n"


def main(
    quick: Annotated[
        bool, typer.Option(help="A smaller update, made once, ours and published alone.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON, nothing else.")
    ] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write the table to this file.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the model.")] = 1,
    vocab: Annotated[int | None, typer.Option(min=8, help="Vocabulary.")] = None,
    rows: Annotated[int | None, typer.Option(min=2, help="Completions of the update.")] = None,
    completion: Annotated[int | None, typer.Option(min=1, help="Tokens each.")] = None,
    hidden: Annotated[int | None, typer.Option(min=8, help="Width of the body.")] = None,
    chunk: Annotated[int | None, typer.Option(min=64, help="Rows of logits at a time.")] = None,
) -> None:
    """Measure our policy update against the published one."""
    asked = {
        "vocab": vocab,
        "rows": rows,
        "completion": completion,
        "hidden": hidden,
        "chunk": chunk,
    }
    changes: dict[str, Any] = {name: size for name, size in asked.items() if size is not None}
    sizes = replace(QUICK if quick else Sizes(), **changes)
    report = measure(sizes, threads)
    if as_json:
        print(json.dumps(report.summary()))
    else:
        console = Console()
        console.print(as_table(report))
        console.print(report.verdict)
        console.print(
            f"{platform.machine()}, {threads} thread(s), torch {torch.__version__}, V {sizes.vocab:,}, "
            f"{sizes.rows} rows of {sizes.prompt} + {sizes.completion} tokens, "
            f"medians of {max(sizes.repeats, 1)}"
        )
    if markdown is not None:
        markdown.write_text(as_markdown(report), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
