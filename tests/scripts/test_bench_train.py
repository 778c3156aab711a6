"""Our faithful mode is the published update: equal loss, gradient and weights, whatever the answers are.

No timing is asserted.
"""

import json
from dataclasses import replace
from pathlib import Path

import published_update
import pytest
import torch
from bench_train import (
    BETA,
    EPSILON,
    Kept,
    Live,
    Task,
    difference,
    faithful,
    given,
    hold,
    nudge,
    ours,
    published,
    targets_alone,
    task_of,
    without_loop,
    written,
)
from running import python
from torch import Tensor

from diffucode.decoding.trace import Trace
from diffucode.models.toy import tiny_transformer
from diffucode.models.transformer import TransformerDenoiser
from diffucode.rl.masking import Coupled
from diffucode.rl.objective import Bnpo
from diffucode.rl.step import Alone, Update, iterate

VOCAB, END = 60, 0
TIMES = (0.2, 0.8)


def policy() -> TransformerDenoiser:
    return tiny_transformer(VOCAB, hidden=16, shift=True)


def full(traces: tuple[Trace, ...]) -> tuple[Trace, ...]:
    """No terminator: every token counts."""
    return traces


def talkative(traces: tuple[Trace, ...]) -> tuple[Trace, ...]:
    """Terminators at different places, text after them; one answer is nothing else."""
    for b, trace in enumerate(traces):
        trace.token[trace.start + 4 * b :: 5] = END
    return traces


def retired(traces: tuple[Trace, ...]) -> tuple[Trace, ...]:
    """The same, and what follows the first terminator was never opened."""
    for b, trace in enumerate(talkative(traces)):
        trace.step[trace.start + 4 * b + 1 :] = -1
    return traces


def task(
    layout=full, *, seed: int = 0, prompt: int = 5, update: Update | None = None, **options: object
) -> Task:
    model = policy()
    traces = layout(written(model, 4, prompt, 17))
    return task_of(model, traces, update or faithful(TIMES, 4), seed=seed, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("layout", [full, talkative, retired])
def test_loss_and_gradient_are_the_published_ones(layout, seed: int, index: int) -> None:
    one = task(layout, seed=seed, index=index, prompt=1 + seed)
    mine, theirs = hold(one, ours), hold(one, published)
    off = difference(mine, theirs)
    assert off.equal, off
    assert theirs.gradient[0].abs().max() > 1e-4
    counted = int(given(one).counted_BC.sum())
    assert (counted < 4 * 17) == (layout is not full)
    assert mine.read == (2 * counted, 2 * counted)
    assert theirs.read == (3 * 4 * (1 + seed + 17), 0)
    assert mine.calls <= theirs.calls == 12  # a view without a target costs nothing
    for way in (without_loop, targets_alone):
        assert difference(hold(one, way), theirs).equal
    if index:
        found = iterate(one.policy, one.optimizer, one.prepared, 1, one.update, Alone())
        means = found.metrics.means()
        assert min(means["clipped_low"], means["clipped_high"], means["kl"]) > 0.01


@pytest.mark.parametrize("layout", [full, talkative])
def test_two_iterations_end_at_the_same_weights(layout) -> None:
    """Each path with old and reference log-probabilities of its own, all from before the first step."""
    ends, start = [], [p.detach().clone() for p in policy().parameters()]
    for path in (our_iterations, published_iterations):
        one = task(layout, nudged=0.0)
        one.optimizer.param_groups[0]["lr"] = 0.5
        path(one)
        ends.append([p.detach() - s for p, s in zip(one.policy.parameters(), start, strict=True)])
    scale = max(float(b.abs().max()) for b in ends[1])
    assert scale > 0.01
    for a, b in zip(*ends, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=2e-5 * scale)


def our_iterations(one: Task) -> None:
    found = [ours(replace(one, index=index), Alone()) for index in (0, 1)]
    assert found[0] != found[1]


def published_iterations(one: Task) -> None:
    known = [given(replace(one, index=index)) for index in (0, 1)]

    def scored(index: int) -> Tensor:
        return published_update.log_probabilities(
            lambda tokens_BL: one.policy.model(input_ids=tokens_BL).logits,
            known[index].tokens_BL,
            known[index].copies,
        )

    with torch.no_grad():
        before = [scored(0), scored(1)]
    for index in (0, 1):
        loss = published_update.loss(
            scored(index),
            before[index],
            before[index],
            known[index].advantage_B,
            known[index].counted_BC,
            epsilon=EPSILON,
            beta=BETA,
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(one.policy.parameters(), one.update.grad_norm)
        one.optimizer.step()
        one.optimizer.zero_grad()


def test_micro_batches_of_ours_are_the_published_whole() -> None:
    """The published mean is that of a micro-batch; ours is of the update, whatever its micro-batches."""
    one = task(talkative)
    apart = replace(one, update=replace(one.update, rows=1))
    assert difference(hold(apart, ours), hold(one, published)).equal


OTHERS = [
    Update(Coupled(times=TIMES, shared_time=True), Bnpo(beta=BETA, eps_low=0.5, eps_high=0.5)),
    replace(faithful(TIMES, 4), estimator=Coupled("normalised", times=TIMES, shared_time=True)),
    replace(
        faithful(TIMES, 4),
        objective=Bnpo(eps_low=0.5, eps_high=0.2, beta=BETA, weight_in_ratio=True),
    ),
]


@pytest.mark.parametrize("update", OTHERS)
def test_another_update_is_told_apart(update: Update) -> None:
    assert not difference(hold(task(update=update), ours), hold(task(), published)).equal


# --- the transcription ---------------------------------------------------------------------------


def test_a_token_is_the_mean_of_its_full_mask_and_its_weighted_partial_one() -> None:
    """Logits that follow from what is fed: each pass is told apart."""
    tokens_BL = torch.tensor([[3, 1, 2, 1], [3, 2, 2, 0]])
    masked_BL = torch.tensor([[0, 0, 1, 0], [0, 1, 0, 1]]).bool()
    made = published_update.copies(tokens_BL, 1, masked_BL, 0.25, mask_id=4)
    assert made.inputs_3BL.tolist() == [
        *([3, 4, 4, 4], [3, 4, 4, 4]),
        *([3, 1, 4, 1], [3, 4, 2, 4]),
        *([3, 4, 2, 4], [3, 2, 4, 0]),
    ]
    assert made.weight_3 == (1, 4, 4 / 3)

    def logits(tokens_RL: Tensor) -> Tensor:
        """At each place, of the number of hidden tokens of the row and of the place."""
        count_R = (tokens_RL == 4).sum(1)
        place_L = torch.arange(4.0)
        token_V = torch.arange(5.0)
        return torch.sin(count_R[:, None, None] + 2 * place_L[:, None] + 3 * token_V)

    for select in (published_update.row_by_row, published_update.all_rows):
        found_BC = published_update.log_probabilities(logits, tokens_BL, made, select)
        for b in range(2):
            for col in range(1, 4):
                hidden = bool(masked_BL[b, col])
                inputs = [made.inputs_3BL[b], made.inputs_3BL[(2 if hidden else 4) + b]]
                each = [
                    logits(row[None])[0, col - 1].log_softmax(0)[tokens_BL[b, col]]
                    for row in inputs
                ]
                weight = 4 if hidden else 4 / 3
                wanted = (each[0] + weight * each[1]) / 2
                assert found_BC[b, col - 1] == pytest.approx(float(wanted), abs=1e-6)


# --- the meters ----------------------------------------------------------------------------------


def test_live_bytes_are_the_most_at_once() -> None:
    weight = torch.ones(100)
    with Live([weight]) as live:
        first = weight.exp()
        del first
        second = weight.exp()
        view = second[:50].view(5, 10)
        weight.t()
        third = weight[:10].clone()
    assert (live.most, live.now) == (440, 440)
    assert view.shape == (5, 10) and third.shape == (10,)


def test_saved_bytes_are_those_of_a_chunk_and_the_body() -> None:
    """Not of a vocabulary: eight times as many rows of logits, the same lot at a time."""
    held = {}
    for vocab in (1_000, 4_000):
        model = tiny_transformer(vocab, hidden=16, shift=True, head_bytes=1)  # 64 rows, the least
        one = task_of(model, written(model, 8, 4, 32), faithful(TIMES, 8))
        held[vocab] = [hold(one, way).saved for way in (ours, published)]
    grown = [b - a for a, b in zip(*held.values(), strict=True)]
    assert grown[0] == 64 * 3_000 * 4
    assert grown[1] == 3 * 8 * 32 * 3_000 * 4


def test_a_kept_gradient_is_not_clipped() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    kept = Kept()
    assert kept.clip(iter([parameter]), 1.0) == 5 and kept.gradient[0].tolist() == [3, 4]


def test_a_nudge_is_relative() -> None:
    model = torch.nn.Linear(100, 100, bias=False)
    before = model.weight.detach().clone()
    nudge(model, 0.1)
    change = (model.weight.detach() - before).norm() / before.norm()
    assert float(change) == pytest.approx(0.1, rel=0.05)


def test_one_line_of_json(tmp_path: Path) -> None:
    table = tmp_path / "table.md"
    printed, _ = python(
        *("scripts/bench_train.py", "--quick", "--json"),
        *("--vocab", 8000, "--rows", 4, "--completion", 64, "--hidden", 16),
        *("--chunk", 64, "--markdown", table),
    )
    (line,) = printed.splitlines()
    result = json.loads(line)
    assert list(result)[:3] == ["memory_ratio", "time_ratio", "equal"]
    assert result["equal"] is True
    assert result["memory_ratio"] <= 1 / 3
    assert result["live_ratio"] <= 1 / 3
    assert result["forward_passes"] == [12, 12]
    assert result["head_rows"] == [4 * 4 * 64, 3 * 4 * (50 + 64)]
    assert result["clipped"] > 0.05
    assert table.read_text().startswith("|  | saved | live | CPU |")
