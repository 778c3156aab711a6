"""The transcriptions themselves: the published numbers and the published quirks."""

from collections import Counter
from itertools import combinations, pairwise, permutations

import pytest
import torch
from chisquare import p_of_law
from published_loops import dream, dream_draw, gumbel_argmax, llada, llada_quota

MASK = 9


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        yield


def table(z_LV):
    """A model whose logits depend on the position alone, in Dream's convention (read one left)."""
    z_LV = torch.as_tensor(z_LV, dtype=torch.float32)
    shifted_LV = torch.cat([z_LV[1:], z_LV[:1]])
    return lambda x_BL, attention_BL: shifted_LV.expand(len(x_BL), -1, -1)


def unshifted(z_LV):
    z_LV = torch.as_tensor(z_LV, dtype=torch.float32)
    return lambda x_BL, attention_BL: z_LV.expand(len(x_BL), -1, -1)


def peaks(*tops, mask=MASK):
    """Positions whose most likely token has these probabilities; the mask id never comes."""
    p_LV = torch.full((len(tops) + 1, 10), 0.0)
    for i, top in enumerate(tops):
        p_LV[i + 1, :9] = (1 - top) / 8
        p_LV[i + 1, i % 9] = top
    p_LV[0, 0] = 1.0
    return p_LV.log()


def committed(frames):
    """The positions of row 0 that each step filled."""
    return [
        (before[0] != after[0]).nonzero().flatten().tolist() for before, after in pairwise(frames)
    ]


GIVEN = torch.tensor([[0]])


# --- Dream: the grid ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "steps", "counts"),
    [
        (128, 128, {0: 1, 1: 126, 2: 1}),
        (256, 256, {0: 1, 1: 254, 2: 1}),
        (512, 512, {0: 1, 1: 510, 2: 1}),
        (768, 768, {0: 1, 1: 766, 2: 1}),
        (1024, 1024, {0: 2, 1: 1021, 3: 1}),
        (256, 128, {1: 1, 2: 126, 3: 1}),
        (256, 64, {3: 1, 4: 62, 5: 1}),
        (512, 256, {1: 1, 2: 254, 3: 1}),
        (256, 100, {2: 45, 3: 54, 4: 1}),
    ],
)
def test_dream_step_counts(length, steps, counts):
    z_LV = torch.zeros(length + 1, 3)
    z_LV[:, 0] = 1.0
    frames = dream(
        table(z_LV), GIVEN, mask_id=2, max_new_tokens=length, steps=steps, alg="maskgit_plus"
    )
    sizes = [len(c) for c in committed(frames)]
    assert Counter(sizes) == counts
    assert sizes[0] == min(counts) and sizes[-1] == max(counts)
    assert len(frames) == steps + 1


def test_dream_oversampled_grid_wastes_half_its_passes():
    calls = []

    def logits(x_BL, attention_BL):
        calls.append(int((x_BL == 2).sum()))
        return torch.tensor([1.0, 0.0, 0.0]).expand(*x_BL.shape, 3)

    frames = dream(logits, GIVEN, mask_id=2, max_new_tokens=256, steps=512, alg="entropy")
    assert sum(not c for c in committed(frames)) == 257
    assert len(calls) == 512  # a step that commits nothing still runs the model


def test_origin_reveals_by_the_grid():
    steps, eps, length = 5, 1e-3, 4000
    z_LV = torch.zeros(length + 1, 3)
    z_LV[:, 2] = -torch.inf
    frames = dream(table(z_LV), GIVEN, mask_id=2, max_new_tokens=length, steps=steps, alg="origin")
    seen = Counter({i: len(c) for i, c in enumerate(committed(frames))})
    each = (1 - eps) / steps
    law = {i: each for i in range(steps - 1)} | {steps - 1: 1 - (steps - 1) * each}
    assert p_of_law(seen, law) > 0.001


# --- Dream: what is drawn and in which order ---------------------------------------------------


def test_dream_order_weights_are_softmax_of_confidence_over_alg_temp():
    rows = 6000
    for alg_temp, weights in [
        (0.1, (0.950330, 0.047314, 0.002356)),
        (0.5, (0.540539, 0.296654, 0.162807)),
    ]:
        frames = dream(
            table(peaks(0.9, 0.6, 0.3)),
            GIVEN.expand(rows, 1),
            mask_id=MASK,
            max_new_tokens=3,
            steps=2,
            alg="maskgit_plus",
            alg_temp=alg_temp,
        )
        first = (frames[1] != MASK)[:, 1:]
        assert (first.sum(1) == 1).all()
        seen = Counter(first.int().argmax(1).tolist())
        assert p_of_law(seen, dict(enumerate(weights))) > 0.001


def test_dream_order_is_without_replacement():
    confidence, alg_temp, rows = (0.9, 0.6, 0.3, 0.5, 0.2), 0.5, 6000
    weights = torch.tensor(confidence).div(alg_temp).exp().tolist()
    law = {
        pair: sum(
            weights[i] / sum(weights) * weights[j] / (sum(weights) - weights[i])
            for i, j in permutations(pair)
        )
        for pair in combinations(range(5), 2)
    }
    frames = dream(
        table(peaks(*confidence)),
        GIVEN.expand(rows, 1),
        mask_id=MASK,
        max_new_tokens=5,
        steps=2,
        alg="maskgit_plus",
        alg_temp=alg_temp,
    )
    first = (frames[1] != MASK)[:, 1:]
    assert (first.sum(1) == 2).all()
    seen = Counter(tuple(row.nonzero().flatten().tolist()) for row in first)
    assert p_of_law(seen, law) > 0.001


def test_temperature_of_the_token_moves_the_order():
    sharp, twin = [2.0, 0, 0, 0, 0], [2.1, 2, -6, -6, -6]
    z_NV = torch.tensor([sharp, twin])

    def scores(alg, temperature):
        while True:  # maskgit_plus scores the drawn token: wait until both draws are the top one
            score_N, drawn_N = dream_draw(z_NV, alg, temperature, None, None)
            if drawn_N.tolist() == [0, 0]:
                return score_N.tolist()

    assert scores("entropy", 1.0) == pytest.approx([-1.135082, -0.696224], abs=2e-6)
    assert scores("entropy", 0.2) == pytest.approx([-0.001997, -0.662848], abs=2e-6)
    assert scores("maskgit_plus", 1.0) == pytest.approx([0.648786, 0.524728], abs=2e-6)
    assert scores("maskgit_plus", 2.0) == pytest.approx([0.404610, 0.499127], abs=2e-6)


def test_dream_tokens_follow_the_truncated_law():
    z = torch.tensor([3.0, 2, 1, 0, -1])
    z_NV = z.expand(8000, 5)
    for top_p, top_k, kept in [(0.9, None, 3), (None, 2, 2), (0.9, 1, 1), (None, None, 5)]:
        _, drawn_N = dream_draw(z_NV, "entropy", 1.0, top_p, top_k)
        law = dict(enumerate(torch.softmax(z[:kept], -1).tolist()))
        assert p_of_law(Counter(drawn_N.tolist()), law) > 0.001


def test_top_p_makes_exact_ties():
    z_NV = torch.tensor([[9.0, 0, 0], [8.0, 0, 0], [1.0, 0, 0]])
    score_N, _ = dream_draw(z_NV, "entropy", 1.0, 0.95, None)
    assert score_N[0] == score_N[1] == 0.0 > score_N[2]


def test_a_refused_distribution_becomes_argmax_for_the_whole_call():
    z_NV = torch.zeros(50, 4)
    z_NV[:, 3] = 0.01
    z_NV[0, 0] = torch.nan
    _, drawn_N = dream_draw(z_NV, "maskgit_plus", 1.0, None, None)
    assert drawn_N[1:].tolist() == [3] * 49


# --- Dream: quirks of the canvas ---------------------------------------------------------------


def test_dream_reads_the_left_neighbour():
    def logits(x_BL, attention_BL):
        z_BLV = torch.full((*x_BL.shape, 10), -5.0)
        for i in range(x_BL.shape[1]):
            z_BLV[:, i, i] = 5.0
        return z_BLV

    frames = dream(logits, torch.tensor([[7, 7]]), mask_id=MASK, max_new_tokens=3, steps=1)
    assert frames[-1].tolist() == [[7, 7, 1, 2, 3]]


def test_dream_writes_the_mask_over_given_tokens_of_the_shorter_row():
    prompts = torch.tensor([[MASK] * 6, [3, 3, 3, 3, 3, MASK]])
    z_LV = torch.zeros(6, 10)
    z_LV[:, 0] = 1.0
    frames = dream(table(z_LV), prompts, mask_id=MASK, max_new_tokens=0, steps=1, alg="entropy")
    # mean of 6 and 1 open positions: 3 commits in each row
    assert (frames[-1][0] != MASK).sum() == 3
    assert (frames[-1][1] == MASK).sum() == 2


def test_a_drawn_mask_leaves_the_slot_open():
    z_LV = torch.zeros(4, 10)
    z_LV[:, MASK] = 5.0
    frames = dream(table(z_LV), GIVEN, mask_id=MASK, max_new_tokens=3, steps=3, alg="entropy")
    assert frames[-1].tolist() == [[0, MASK, MASK, MASK]]


def test_attention_is_passed_only_where_there_is_padding():
    seen = []

    def logits(x_BL, attention_BL):
        seen.append(attention_BL)
        return torch.zeros(*x_BL.shape, 10)

    prompt = torch.tensor([[0, 4]])
    common = {"mask_id": MASK, "max_new_tokens": 2, "steps": 1}
    dream(logits, prompt, torch.tensor([[0, 1]]), **common)
    dream(logits, prompt, torch.tensor([[1, 1]]), **common)
    assert seen[0].tolist() == [[False, True, True, True]]
    assert seen[1] is None


# --- LLaDA -------------------------------------------------------------------------------------


def test_llada_quota():
    assert llada_quota(torch.tensor([7, 8, 2, 0]), 3).tolist() == [
        [3, 2, 2],
        [3, 3, 2],
        [1, 1, 0],
        [0, 0, 0],
    ]


def test_llada_fills_block_by_block():
    frames = llada(
        unshifted(peaks(*(0.3, 0.5, 0.6, 0.4, 0.9, 0.8, 0.7, 0.95))),
        GIVEN,
        mask_id=MASK,
        gen_length=8,
        steps=6,
        block_length=4,
    )
    assert committed(frames) == [[2, 3], [4], [1], [5, 8], [6], [7]]


def test_llada_confidence_is_untempered():
    """At T = 0.01 both draws are the top tokens; tempered they tie at 1, untempered they do not."""
    for order in [(0.9, 0.6), (0.6, 0.9)]:
        frames = llada(
            unshifted(peaks(*order)),
            GIVEN,
            mask_id=MASK,
            gen_length=2,
            steps=2,
            block_length=2,
            temperature=0.01,
        )
        assert committed(frames)[0] == [1 + order.index(0.9)]


def test_llada_random_remasking_is_uniform():
    rows = 3000
    frames = llada(
        unshifted(peaks(0.9, 0.6, 0.3)),
        GIVEN.expand(rows, 1),
        mask_id=MASK,
        gen_length=3,
        steps=3,
        block_length=3,
        remasking="random",
    )
    first = Counter((frames[1] != MASK)[:, 1:].int().argmax(1).tolist())
    assert p_of_law(first, dict.fromkeys(range(3), 1 / 3)) > 0.001


def test_llada_draw_is_the_tempered_softmax():
    z_BLV = torch.tensor([2.0, 1, 0]).expand(1, 20000, 3)
    seen = Counter(gumbel_argmax(z_BLV, 0.7)[0].tolist())
    assert p_of_law(seen, {0: 0.770960, 1: 0.184761, 2: 0.044278}) > 0.001
    assert gumbel_argmax(z_BLV, 0.0).unique().tolist() == [0]


def test_llada_holes_in_the_prompt_leave_open_slots():
    frames = llada(
        unshifted(peaks(0.9, 0.9, 0.5, 0.5)),
        torch.tensor([[0, MASK, MASK]]),
        mask_id=MASK,
        gen_length=2,
        steps=2,
        block_length=2,
    )
    assert (frames[-1] == MASK).sum() == 2
