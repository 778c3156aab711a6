"""Group advantages sum to zero and are silent where nothing can be compared; HAPO's worked numbers."""

import math

import pytest
import torch

from diffucode.errors import PlanError
from diffucode.rl.advantage import (
    GroupAdvantage,
    TokenGroupAdvantage,
    entropy_signal,
    permuted,
    redistribute,
    zero_variance,
)
from diffucode.sampling.temperature import HapoStats

ENTROPY = torch.tensor([0.01, 0.05, 0.2, 0.2, 0.4, 0.8, 1, 1.2, 1.6, 2.4], dtype=torch.float64)
RULES = [
    *(GroupAdvantage(b, s) for b in ("mean", "leave_one_out") for s in ("none", "group", "batch")),
    TokenGroupAdvantage(),
]


def doubles(*values):
    return torch.tensor(values, dtype=torch.float64)


def random_batch(seed=0):
    """Groups of 2, 3, 5 and 7 in mixed order, under ids that are neither sorted nor dense."""
    generator = torch.Generator().manual_seed(seed)
    group_B = torch.tensor([40] * 2 + [-3] * 3 + [7] * 5 + [1000] * 7)
    group_B = group_B[torch.randperm(17, generator=generator)]
    reward_B = torch.randn(17, generator=generator, dtype=torch.float64)
    length_B = torch.randint(1, 30, (17,), generator=generator)
    return reward_B, group_B, length_B


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_advantages_of_a_group_sum_to_zero(rule):
    reward_B, group_B, length_B = random_batch()
    found = rule(reward_B, group_B, length_B)
    share_B = length_B if rule.kind == "hapo" else torch.ones(17)
    for group in group_B.unique():
        mine = group_B == group
        assert (share_B * found.advantage_B)[mine].sum().abs() < 1e-12
        best = reward_B.where(mine, -math.inf).argmax()
        assert found.advantage_B[best] > 0
    assert found.advantage_B.dtype == torch.float64
    assert (found.groups, found.flat_groups) == (4, 0)
    assert found.kept_B.all() and not found.flat_B.any()


def test_leave_one_out_is_the_mean_of_the_others_and_a_multiple_of_the_mean_baseline():
    reward_B, group_B, length_B = random_batch()
    centred_B = GroupAdvantage("mean")(reward_B, group_B, length_B).advantage_B
    found_B = GroupAdvantage("leave_one_out")(reward_B, group_B, length_B).advantage_B
    for b in range(17):
        others = group_B == group_B[b]
        size = int(others.sum())
        others[b] = False
        assert found_B[b] == pytest.approx(float(reward_B[b] - reward_B[others].mean()), abs=1e-12)
        assert found_B[b] == pytest.approx(size / (size - 1) * float(centred_B[b]), rel=1e-15)


def test_scales_are_sample_deviations_plus_the_published_floor():
    reward_B, group_B, length_B = random_batch()
    centred_B = GroupAdvantage()(reward_B, group_B, length_B).advantage_B
    by_group_B = GroupAdvantage(scale="group")(reward_B, group_B, length_B).advantage_B
    by_batch_B = GroupAdvantage(scale="batch")(reward_B, group_B, length_B).advantage_B
    torch.testing.assert_close(by_batch_B, centred_B / (reward_B.std() + 1e-4), rtol=1e-12, atol=0)
    for group in group_B.unique():
        mine = group_B == group
        want = centred_B[mine] / (reward_B[mine].std() + 1e-4)
        torch.testing.assert_close(by_group_B[mine], want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_constant_groups_and_singles_get_exactly_nothing(rule):
    # The mean of three times 0.1 is not 0.1: a deviation would not be 0 here.
    reward_B = doubles(0.1, 0.1, 0.1, 0.7, 1.0, 0.0)
    found = rule(reward_B, torch.tensor([0, 0, 0, 1, 2, 2]), torch.tensor([3, 5, 9, 4, 2, 6]))
    assert found.advantage_B[:4].tolist() == [0, 0, 0, 0]
    assert (found.advantage_B[4:] != 0).all()
    assert found.flat_B.tolist() == [True] * 4 + [False] * 2
    assert (found.groups, found.flat_groups) == (3, 2)
    alone = rule(torch.tensor([5.0]), torch.tensor([0]), torch.tensor([3]))
    assert alone.advantage_B.tolist() == [0]
    assert alone.advantage_B.dtype == torch.float32


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_unknown_rewards_change_nothing_for_the_others(rule):
    reward_B, group_B, length_B = random_batch()
    unknown_B = torch.zeros(17, dtype=torch.bool)
    unknown_B[[1, 4, 9]] = True
    want = rule(reward_B[~unknown_B], group_B[~unknown_B], length_B[~unknown_B])
    found = rule(reward_B.masked_fill(unknown_B, math.nan), group_B, length_B)
    torch.testing.assert_close(
        found.advantage_B[~unknown_B], want.advantage_B, rtol=1e-12, atol=1e-12
    )
    assert found.advantage_B[unknown_B].tolist() == [0, 0, 0]
    assert found.kept_B.tolist() == (~unknown_B).tolist()


def test_groups_with_fewer_than_two_known_rewards_are_flat():
    reward_B = doubles(math.nan, math.nan, 1, math.nan, 1, 0, math.nan)
    group_B = torch.tensor([0, 0, 1, 1, 2, 2, 2])
    found = GroupAdvantage("leave_one_out", "group")(reward_B, group_B, torch.ones(7))
    assert found.flat_B.tolist() == [True] * 4 + [False] * 3
    assert found.flat_groups == 2
    assert found.advantage_B[:4].tolist() == [0] * 4
    assert zero_variance(reward_B, group_B).tolist() == found.flat_B.tolist()


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_order_of_completions_does_not_matter(rule):
    reward_B, group_B, length_B = random_batch()
    order = torch.randperm(17, generator=torch.Generator().manual_seed(1))
    found_B = rule(reward_B[order], group_B[order], length_B[order]).advantage_B
    want_B = rule(reward_B, group_B, length_B).advantage_B[order]
    torch.testing.assert_close(found_B, want_B, rtol=1e-12, atol=1e-12)


def test_token_level_group_average_worked_numbers():
    reward_B, group_B, length_B = doubles(1, 0, 0, 1), torch.zeros(4).long(), [2, 6, 4, 3]
    length_B = torch.tensor(length_B)
    found_B = TokenGroupAdvantage()(reward_B, group_B, length_B).advantage_B
    assert found_B.tolist() == pytest.approx([1.414211, -0.707105, -0.707105, 1.414211], abs=1e-6)
    assert (found_B * length_B).sum().abs() < 1e-12
    # By the completion, the tokens lean against long failures (floor 1e-4 for the sheet's 1e-6).
    grpo_B = GroupAdvantage(scale="group")(reward_B, group_B, length_B).advantage_B
    assert float((grpo_B * length_B).sum()) == pytest.approx(-4.33012, abs=1e-3)


def test_a_completion_without_tokens_has_no_share_in_the_token_average():
    found = TokenGroupAdvantage()(doubles(1, 0, 5), torch.zeros(3).long(), torch.tensor([2, 2, 0]))
    assert found.kept_B.tolist() == [True, True, False]
    assert found.advantage_B.tolist() == pytest.approx([1, -1, 0], abs=1e-5)


def test_entropy_signal_is_signed_and_clipped():
    stats = HapoStats.of(ENTROPY)
    want = [-1, -0.663824, -0.374258, -0.374258, -0.229476, -0.084693, -0.038083, 0, 0.415037, 1]
    assert entropy_signal(ENTROPY, stats).tolist() == pytest.approx(want, abs=1e-6)
    assert entropy_signal(doubles(0, 1e-30, 50), stats).tolist() == [-1, -1, 1]
    assert entropy_signal(ENTROPY, HapoStats(0.0, 0.0, 0.0, 0.0)).tolist() == [0] * 10
    assert not entropy_signal(ENTROPY.clone().requires_grad_(), stats).requires_grad


def test_redistribution_worked_numbers():
    signal_N, ratio_N = doubles(0.5, -0.5, -0.5, 1), doubles(1.2, 1.0, 0.7, 1.3)
    advantage_N = doubles(1, 1, 1, -1)
    found_N = redistribute(advantage_N, signal_N, ratio_N, 0.2, 0.28)
    assert found_N.tolist() == [1.5, 0.5, 1, -2]
    assert redistribute(advantage_N, signal_N, ratio_N, 0.2, 0.28, 0.0).tolist() == [1, 1, 1, -1]
    # The gate of an uncertain token is shut inside the zone (0.9, 1.14) and open on either side.
    moved = doubles(0.89, 0.91, 1.13, 1.15)
    assert redistribute(doubles(1, 1, 1, 1), doubles(1, 1, 1, 1), moved, 0.2, 0.28).tolist() == [
        2,
        1,
        1,
        2,
    ]
    # A sure token that stands still loses its advantage; one that moved keeps it.
    sure = redistribute(doubles(1, 1, 1, 1), doubles(-1, -1, -1, -1), moved, 0.2, 0.28)
    assert sure.tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GroupAdvantage("median"), "expected one of mean, leave_one_out"),
        (lambda: GroupAdvantage(scale="all"), "expected one of none, group, batch"),
        (lambda: GroupAdvantage()(doubles(1, math.inf), torch.zeros(2), torch.ones(2)), "1 of 2"),
        (lambda: GroupAdvantage()(doubles(1, 2), torch.zeros(3), torch.ones(2)), "group_B has"),
        (lambda: zero_variance(torch.ones(2, 2), torch.ones(2, 2)), "expected \\[B\\]"),
        (
            lambda: TokenGroupAdvantage()(doubles(1, 2), torch.zeros(2), torch.ones(3)),
            "length_B has",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(PlanError, match=words):
        make()


def test_permuted_rewards_stay_in_their_groups_and_say_nothing():
    """2,000 groups of 4: a correlation has a standard error of 0.011."""
    generator = torch.Generator().manual_seed(5)
    group_B = torch.arange(2000).repeat(4)
    reward_B = torch.randn(8000, generator=generator, dtype=torch.float64)
    reward_B[::7] = math.nan
    found_B = permuted(reward_B, group_B, seed=1, step=3)
    assert torch.equal(found_B.isnan(), reward_B.isnan())
    for group in (0, 17, 1999):
        own = group_B == group
        assert sorted(found_B[own & ~found_B.isnan()].tolist()) == sorted(
            reward_B[own & ~reward_B.isnan()].tolist()
        )
    rule = GroupAdvantage()
    before, after = (rule(r, group_B, group_B).advantage_B for r in (reward_B, found_B))
    assert abs(float(torch.corrcoef(torch.stack([before, after]))[0, 1])) < 0.05
    assert torch.equal(
        found_B.nan_to_num(), permuted(reward_B, group_B, seed=1, step=3).nan_to_num()
    )
    for seed, step in ((2, 3), (1, 4)):
        other_B = permuted(reward_B, group_B, seed=seed, step=step)
        assert not torch.equal(found_B.nan_to_num(), other_B.nan_to_num())
