"""Mask plans and estimators: every expectation by enumeration, every plan a function of its row alone."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations, pairwise, permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from diffucode.decoding.canvas import Canvas
from diffucode.decoding.trace import Trace, blank
from diffucode.errors import PlanError
from diffucode.rl.masking import (
    SURE,
    Autoregressive,
    Bernoulli,
    Count,
    Coupled,
    Cover,
    Espo,
    Estimator,
    Full,
    LeftToRight,
    MaskPlan,
    Quad,
    Sandwich,
    Stratified,
    Traced,
    chances,
    plan,
)

SIZES = (1, 2, 3, 4)


@dataclass
class Enumerated:
    """Chances that are given instead of drawn; each serves every draw of a row, which leaves expectations
    of sums over draws as they are."""

    size_B: Tensor
    level_B: Tensor
    noise_Bn: Tensor

    @property
    def inside_Bn(self) -> Tensor:
        return torch.arange(self.noise_Bn.shape[1]) < self.size_B[:, None]

    def level(self, draw: int) -> Tensor:
        return self.level_B

    def shared_level(self, draw: int) -> Tensor:
        return self.level_B

    def noise(self, draw: int) -> Tensor:
        return self.noise_Bn


class Oracle:
    """l_i(S) of an arbitrary model of n positions; ``context`` False: it ignores S."""

    def __init__(self, n: int, *, context: bool = True, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, n])
        self.n = n
        self.table = -rng.exponential(size=(n, 2**n))
        if not context:
            self.table[:] = self.table[:, :1]

    def term(self, i: int, hidden: frozenset[int]) -> float:
        assert i in hidden
        return float(self.table[i, sum(1 << j for j in hidden)])

    def total(self, hidden: frozenset[int]) -> float:
        return sum(self.term(i, hidden) for i in hidden)

    def elbo(self) -> float:
        return sum(
            np.mean([self.total(frozenset(s)) for s in combinations(range(self.n), k)]) / k
            for k in range(1, self.n + 1)
        )

    def mean_over_orders(self) -> float:
        orders = list(permutations(range(self.n)))
        return sum(self.term(o[i], frozenset(o[i:])) for o in orders for i in range(self.n)) / len(
            orders
        )

    def full(self) -> float:
        return self.total(frozenset(range(self.n)))

    def estimates(self, cover: Cover) -> np.ndarray:
        """The estimate of every row of a cover."""
        views, rows, _ = cover.hidden_KBn.shape
        found = np.zeros(rows)
        for k in range(views):
            code_B = (cover.hidden_KBn[k].long() << torch.arange(self.n)).sum(1).numpy()
            for i in range(self.n):
                found += cover.weight_KBn[k, :, i].numpy() * self.table[i, code_B]
        return found


def counted(n: int) -> Iterator[tuple[Enumerated, np.ndarray]]:
    """Every level, in cells so fine that no count changes inside one, with every order."""
    cells = n * (n + 1) * max(n - 1, 1)
    orders = list(permutations(range(n)))
    level_B = torch.tensor([(c + 0.5) / cells for c in range(cells) for _ in orders]).double()
    noise_Bn = torch.tensor(orders * cells).double()
    rows = len(level_B)
    yield Enumerated(torch.full((rows,), n), level_B, noise_Bn), np.full(rows, 1 / rows)


def timed(n: int, times: tuple[float, float]) -> Iterator[tuple[Enumerated, np.ndarray]]:
    """Every set, with levels at the nodes of a rule that is exact for the polynomials that arise."""
    at, share = np.polynomial.legendre.leggauss(2 * n + 4)
    level, odds, noise = [], [], []
    for u, a in zip((at + 1) / 2, share / 2, strict=True):
        t = times[0] + (times[1] - times[0]) * u
        for code in range(2**n):
            hidden = [bool(code >> i & 1) for i in range(n)]
            level.append(u)
            odds.append(a * t ** sum(hidden) * (1 - t) ** (n - sum(hidden)))
            noise.append([0.0 if h else 1.0 for h in hidden])
    yield (
        Enumerated(
            torch.full((len(level),), n), torch.tensor(level).double(), torch.tensor(noise).double()
        ),
        np.array(odds),
    )


Law = Callable[[int], Iterator[tuple[Enumerated, np.ndarray]]]


def expectation(estimator: Estimator, oracle: Oracle, law: Law) -> float:
    [(chance, odds)] = law(oracle.n)
    assert odds.sum() == pytest.approx(1, abs=1e-12)
    assert not isinstance(estimator, Traced)
    return float(odds @ oracle.estimates(estimator.cover(chance)))


def test_the_two_oracles_agree() -> None:
    for n in SIZES:
        assert Oracle(n).elbo() == pytest.approx(Oracle(n).mean_over_orders(), abs=1e-12)


COUNTED: list[Estimator] = [
    Count(),
    Count(3),
    Stratified(2),
    Stratified(4),
    Espo(),
    Espo(2),
    Coupled("unbiased"),
    Coupled("unbiased", pairs=3),
    Sandwich(),
    Coupled("unbiased", complementary=False),
]


@pytest.mark.parametrize("estimator", COUNTED, ids=str)
@pytest.mark.parametrize("n", SIZES)
def test_expectation_is_elbo(estimator: Estimator, n: int) -> None:
    oracle = Oracle(n)
    assert expectation(estimator, oracle, counted) == pytest.approx(oracle.elbo(), abs=1e-10)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("samples", [1, 2])
def test_bernoulli_falls_short_of_elbo_by_the_times_below_eps(n: int, samples: int) -> None:
    eps, oracle = 0.05, Oracle(n)
    found = expectation(Bernoulli(samples, eps), oracle, lambda n: timed(n, (eps, 1.0)))
    assert found == pytest.approx(times_below(oracle, eps), abs=1e-10)
    tiny = expectation(Bernoulli(samples, 1e-9), oracle, lambda n: timed(n, (1e-9, 1.0)))
    assert tiny == pytest.approx(oracle.elbo(), abs=1e-7)


def times_below(oracle: Oracle, eps: float) -> float:
    """The integral of LLaDA's bound over the times above eps, set by set."""
    at, share = np.polynomial.legendre.leggauss(40)
    t = eps + (1 - eps) * (at + 1) / 2
    total = 0.0
    for k in range(1, oracle.n + 1):
        odds = ((1 - eps) * share / 2 @ (t ** (k - 1) * (1 - t) ** (oracle.n - k))).item()
        total += odds * sum(oracle.total(frozenset(s)) for s in combinations(range(oracle.n), k))
    return total


def paired(oracle: Oracle, pairs: int, times: tuple[float, float], weighted: bool) -> float:
    """What the published estimate expects, from its definition token by token."""
    at, share = np.polynomial.legendre.leggauss(40)
    everything = frozenset(range(oracle.n))
    total = oracle.full()
    for t, a in zip(times[0] + (times[1] - times[0]) * (at + 1) / 2, share / 2, strict=True):
        for k in range(oracle.n + 1):
            for s in map(frozenset, combinations(range(oracle.n), k)):
                odds = a * t ** len(s) * (1 - t) ** (oracle.n - len(s))
                one, other = (1 / t, 1 / (1 - t)) if weighted else (1.0, 1.0)
                both = one * oracle.total(s) + other * oracle.total(everything - s)
                total += pairs * odds * both
    return total / (pairs + 1)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("pairs", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
def test_the_published_weights_expect_what_their_definition_says(
    n: int, pairs: int, shared: bool
) -> None:
    oracle, times = Oracle(n), (0.2, 0.8)
    for name in ("paper", "normalised"):
        coupled = Coupled(name, pairs, times, shared_time=shared)  # type: ignore[arg-type]
        for estimator in (coupled, replace(coupled, complementary=False)):
            found = expectation(estimator, oracle, lambda n: timed(n, times))
            assert found == pytest.approx(paired(oracle, pairs, times, name == "paper"), abs=1e-10)


@pytest.mark.parametrize("n", SIZES)
def test_on_a_model_without_context(n: int) -> None:
    """The published estimate is 1.5 times the log-likelihood; the others are it, where they say so."""
    oracle, times = Oracle(n, context=False), (0.2, 0.8)
    value = oracle.full()
    assert value == pytest.approx(oracle.elbo(), abs=1e-12)
    [(chance, _)] = timed(n, times)
    assert expectation(Coupled(), oracle, lambda n: timed(n, times)) == pytest.approx(1.5 * value)
    assert expectation(Coupled(pairs=3), oracle, lambda n: timed(n, times)) == pytest.approx(
        7 / 4 * value
    )
    # not only on average: every single draw
    assert oracle.estimates(Coupled("normalised").cover(chance)) == pytest.approx(value)
    assert oracle.estimates(Full().cover(chance)) == pytest.approx(value)


def test_a_constant_model_has_no_variance_where_every_token_is_scored_alike() -> None:
    """ln p = -1 everywhere: -n always, but for the published weights, whose mean is -1.5 n."""
    oracle = Oracle(4)
    oracle.table[:] = -1
    [(chance, odds)] = counted(4)
    for estimator in (Full(), Coupled("unbiased"), Count(), Stratified(3), Coupled("normalised")):
        found = oracle.estimates(estimator.cover(chance))
        assert np.allclose(found, -4, atol=1e-12), estimator
    [(chance, odds)] = timed(4, (0.2, 0.8))
    found = oracle.estimates(Coupled().cover(chance))
    assert odds @ found == pytest.approx(-6)
    assert odds @ (found + 6) ** 2 > 0.1


@pytest.mark.parametrize("n", SIZES)
def test_exact_estimators(n: int) -> None:
    oracle = Oracle(n)
    chain = sum(oracle.term(i, frozenset(range(i, n))) for i in range(n))
    [(chance, _)] = counted(n)
    assert np.allclose(oracle.estimates(LeftToRight().cover(chance)), chain, atol=1e-12)
    cover = Autoregressive().cover(chance)
    assert not cover.hidden_KBn.any() and cover.weight_KBn.eq(1).all()
    assert np.allclose(oracle.estimates(Full().cover(chance)), oracle.full(), atol=1e-12)


def test_quadrature_is_exact_for_what_its_rule_integrates() -> None:
    """On a model whose sums are a polynomial of the level, of degree 2 nodes - 1 at most, at n so large
    that no level is rounded."""
    for nodes in (1, 2, 3):
        size = 1_000_000
        at, _ = np.polynomial.legendre.leggauss(nodes)
        chance = Enumerated(torch.tensor([size]), torch.tensor([0.5]), torch.rand(1, size).double())
        cover = Quad(nodes).cover(chance)
        level_K = cover.hidden_KBn[:, 0].double().mean(1)
        assert np.allclose(level_K, (at + 1) / 2, atol=1e-6)
        for degree in range(2 * nodes):
            # l_i(S) = (k/n) ** degree for all i: the estimate is n times the integral of t ** degree
            found = (cover.weight_KBn[:, 0].sum(1) * level_K**degree).sum() / size
            assert float(found) == pytest.approx(1 / (degree + 1), abs=1e-5)


def test_quadrature_expects_its_rule_at_rounded_levels() -> None:
    oracle = Oracle(4)
    at, share = np.polynomial.legendre.leggauss(3)
    wanted = 0.0
    for t, a in zip((at + 1) / 2, share / 2, strict=True):
        k = max(1, round(t * 4))
        sets = list(combinations(range(4), k))
        wanted += a * 4 / k * np.mean([oracle.total(frozenset(s)) for s in sets])
    assert expectation(Quad(3), oracle, counted) == pytest.approx(wanted, abs=1e-10)


def test_strata_never_raise_the_variance() -> None:
    """Independent draws: the variance of a mean over strata against that of as many plain views."""
    oracle = Oracle(4)
    [(chance, odds)] = counted(4)

    def variance(estimator: Estimator, view: int) -> float:
        assert not isinstance(estimator, Traced)
        hidden_KBn, weight_KBn = estimator.cover(chance)
        found = oracle.estimates(Cover(hidden_KBn[[view]], weight_KBn[[view]]))
        return float(odds @ found**2 - (odds @ found) ** 2)

    plain = sum(variance(Count(2), view) for view in range(2))
    strata = sum(variance(Stratified(2), view) for view in range(2))
    assert strata < 0.9 * plain


# --- plans of real rows ------------------------------------------------------------------------


def rows(
    sizes: list[int], *, prompt: int = 2, more: int = 0, seed: int = 0
) -> tuple[Canvas, Tensor]:
    """Complete rows, and their answers, which are scored."""
    lengths = [prompt + b % 2 + n for b, n in enumerate(sizes)]
    tokens = [[1] * length for length in lengths]
    opened = [
        [i >= length - n for i in range(length)] for length, n in zip(lengths, sizes, strict=True)
    ]
    if more:  # a longer neighbour
        tokens.append([1] * (max(lengths) + more))
        opened.append([True] * len(tokens[-1]))
    keys = [(seed, 17 * b) for b in range(len(tokens))]
    canvas = Canvas.of(tokens, opened, keys, fill=0)
    return replace(canvas, open_BL=torch.zeros_like(canvas.open_BL)), canvas.open_BL


def walk(steps: list[int]) -> Trace:
    """A trace that wrote the last positions of a row in these steps."""
    trace = blank("a", 0, 0, 2, 2 + len(steps), 0)
    trace.given[:2] = True
    trace.step[2:] = steps
    return trace


ALL: list[Estimator] = [
    *COUNTED,
    Full(),
    Full(0.3),
    Bernoulli(2),
    Coupled(),
    Coupled("normalised", 2),
    Coupled(shared_time=True),
    Coupled(complementary=False),
    Quad(2),
    Sandwich(block=3, prompt_noise=0.2),
    LeftToRight(),
]


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_a_row_has_the_same_plan_in_any_batch(estimator: Estimator) -> None:
    sizes = [5, 1, 8, 3]
    canvas, scored_BL = rows(sizes)
    whole = plan(estimator, canvas, scored_BL, iteration=3)
    wide, wide_scored = rows(sizes, more=4)
    with_neighbour = plan(estimator, wide, wide_scored, iteration=3)
    length = scored_BL.shape[1]
    for b in range(len(sizes)):
        alone = plan(estimator, canvas.take(torch.tensor([b])), scored_BL[[b]], iteration=3)
        for name in ("hidden_KBL", "weight_KBL"):
            wanted = getattr(whole, name)[:, b]
            own = getattr(alone, name)[:, 0]
            assert torch.equal(own, wanted[: len(own)]) and not wanted[len(own) :].any()
            beside = getattr(with_neighbour, name)[:, b, :length]
            assert torch.equal(beside[: len(own)], own) and not beside[len(own) :].any()
    parts = whole[1:3]
    assert torch.equal(parts.hidden_KBL, whole.hidden_KBL[:, 1:3]) and parts.views == whole.views


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_only_scored_positions_count_and_iterations_differ(estimator: Estimator) -> None:
    canvas, scored_BL = rows([9, 12, 7])
    first, again, other = (plan(estimator, canvas, scored_BL, iteration=i) for i in (0, 0, 1))
    assert torch.equal(first.hidden_KBL, again.hidden_KBL)
    fixed = isinstance(estimator, LeftToRight) or estimator == Full()
    assert torch.equal(first.hidden_KBL, other.hidden_KBL) == fixed  # 2**-20 by chance
    assert not (first.weight_KBL != 0)[:, ~scored_BL].any()
    if not estimator.prompt_noise:
        assert not first.hidden_KBL[:, ~scored_BL].any()
    assert first.denom_B.tolist() == [9, 12, 7]


@pytest.mark.parametrize("name", ["paper", "normalised", "unbiased"])
def test_pairs_are_disjoint_and_cover_what_is_scored(name: str) -> None:
    canvas, scored_BL = rows([1, 2, 3, 9, 40])
    made = plan(Coupled(name, pairs=2), canvas, scored_BL, iteration=0)  # type: ignore[arg-type]
    assert torch.equal(made.hidden_KBL[0], scored_BL)
    for one, other in (made.hidden_KBL[1:3], made.hidden_KBL[3:5]):
        assert not (one & other).any()
        assert torch.equal(one | other, scored_BL)
    if name == "unbiased":
        assert (made.weight_KBL[1:, 0] == 0).all(), "one position has the full mask alone"
        assert torch.allclose(made.weight_KBL[0, 0][scored_BL[0]], torch.ones(1).double())


@pytest.mark.parametrize("name", ["paper", "normalised", "unbiased"])
def test_without_coupling_each_view_keeps_its_law_and_its_weights(name: str) -> None:
    """4,000 rows of 8: the standard error of a share of positions is below 0.4 points."""
    canvas, scored_BL = rows([8] * 4000)
    coupled = Coupled(name, times=(0.2, 0.6))  # type: ignore[arg-type]
    one = plan(coupled, canvas, scored_BL, iteration=0)
    other = plan(replace(coupled, complementary=False), canvas, scored_BL, iteration=0)
    for view in (0, 1):
        assert torch.equal(one.hidden_KBL[view], other.hidden_KBL[view])
    assert not torch.equal(one.hidden_KBL[2], other.hidden_KBL[2])
    for part in (1, 2):
        for values in ("hidden_KBL", "weight_KBL"):
            mean, wanted = (getattr(p, values)[part][scored_BL].double() for p in (other, one))
            assert float(mean.mean()) == pytest.approx(float(wanted.mean()), abs=0.03)
    both = (other.hidden_KBL[1] & other.hidden_KBL[2])[scored_BL].double().mean()
    share = one.hidden_KBL[1][scored_BL].double().mean()
    assert not (one.hidden_KBL[1] & one.hidden_KBL[2]).any()
    assert float(both) == pytest.approx(float(share * (1 - share)), abs=0.03)


def test_planning_leaves_global_generators_alone() -> None:
    canvas, scored_BL = rows([5, 3])
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    for estimator in ALL:
        plan(estimator, canvas, scored_BL, iteration=1)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()


def test_counts_and_positions_follow_their_law() -> None:
    """k uniform over 1..n, each position hidden in k/n of the draws: p-values over 1e-4, so a false alarm
    in 1 of 5,000 changes of the noise."""
    n, many = 5, 4000
    canvas, scored_BL = rows([n] * many)
    made = plan(Count(), canvas, scored_BL, iteration=0)
    k_B = made.hidden_KBL[0].sum(1)
    assert stats.chisquare(np.bincount(k_B, minlength=n + 1)[1:]).pvalue > 1e-4
    some = made.hidden_KBL[0][scored_BL].view(many, n)[k_B == 2]
    assert stats.chisquare(some.sum(0).numpy()).pvalue > 1e-4
    pairs = [tuple(np.flatnonzero(row).tolist()) for row in some.numpy()]
    each = [pairs.count(pair) for pair in combinations(range(n), 2)]
    assert stats.chisquare(each).pvalue > 1e-4


def test_draws_of_a_row_are_apart() -> None:
    """Two views that hide 4 of 8 hide the same with odds of 1 in 70: none of 30 rows or so does, or few."""
    canvas, scored_BL = rows([8] * 2000)
    made = plan(Count(2), canvas, scored_BL, iteration=0)
    half_B = (made.hidden_KBL.sum(2) == 4).all(0)
    same_B = (made.hidden_KBL[0] == made.hidden_KBL[1]).all(1) & half_B
    assert int(half_B.sum()) > 10 and int(same_B.sum()) <= 5  # 2 in a million


def test_prompt_noise_hides_the_prompt_at_its_rate_and_scores_none_of_it() -> None:
    canvas, scored_BL = rows([4] * 300, prompt=20)
    made = plan(Full(0.15), canvas, scored_BL, iteration=0)
    before_BL = ~scored_BL & canvas.real_BL
    hidden = made.hidden_KBL[0] & before_BL
    odds = stats.binomtest(int(hidden.sum()), int(before_BL.sum()), 0.15).pvalue
    assert odds > 1e-4
    assert torch.equal(made.weight_KBL[0] != 0, scored_BL)


def test_a_shared_time_is_one_for_all_rows() -> None:
    canvas, scored_BL = rows([400] * 6)
    for shared in (True, False):
        made = plan(Coupled(shared_time=shared), canvas, scored_BL, iteration=0)
        times = 1 / (2 * made.weight_KBL[1].amax(1))
        assert (len(set(times.tolist())) == 1) == shared
        assert ((times >= 0.2) & (times <= 0.8)).all()


# --- the trace ---------------------------------------------------------------------------------


def test_a_trace_is_scored_step_by_step() -> None:
    trace = walk([2, 0, 1, 0])
    canvas, scored_BL = rows([4])
    made = plan(Traced(), canvas, scored_BL, iteration=0, traces=(trace,))
    assert made.hidden_KBL[:, 0, 2:].tolist() == [
        [True, True, True, True],
        [True, False, True, False],
        [True, False, False, False],
    ]
    assert made.weight_KBL[:, 0, 2:].tolist() == [[0, 1, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]]
    merged = plan(Traced(merge=2), canvas, scored_BL, iteration=0, traces=(trace,))
    assert merged.hidden_KBL[:, 0, 2:].tolist() == [
        [True, True, True, True],
        [True, False, False, False],
    ]
    assert merged.weight_KBL[:, 0, 2:].tolist() == [[0, 1, 1, 1], [1, 0, 0, 0]]


def test_sampled_steps_expect_the_whole_trace() -> None:
    oracle, steps = Oracle(4), torch.tensor([[2, 0, 1, 3]])
    scored_BL = torch.ones(1, 4, dtype=torch.bool)
    levels = (torch.arange(240) + 0.5) / 240

    def total(estimator: Traced, level: Tensor) -> float:
        chance = Enumerated(torch.tensor([4]), level[None].double(), torch.zeros(1, 4))
        return float(oracle.estimates(estimator.views(steps, scored_BL, chance))[0])

    whole = total(Traced(), levels[0])
    for samples in (1, 2, 3):
        found = [total(Traced(samples=samples), level) for level in levels]
        assert np.mean(found) == pytest.approx(whole, abs=1e-10)
        assert samples == 1 or min(found) < whole < max(found)
    assert total(Traced(samples=9), levels[0]) == whole


@given(st.lists(st.floats(0, 1), min_size=2, max_size=7), st.integers(1, 6), st.integers(1, 2))
def test_steps_drawn_by_doubt_expect_the_whole_trace(
    doubts: list[float], samples: int, merge: int
) -> None:
    """Over all levels, exactly: a draw changes only where a sum of chances has the level's fraction."""
    n = len(doubts)
    steps, scored_BL = torch.arange(n)[None], torch.ones(1, n, dtype=torch.bool)
    logprob_BL = (1 - torch.tensor(doubts, dtype=torch.float64)[None]).log()
    estimator = Traced(merge, samples, "doubt")
    groups = [np.sum(doubts[i : i + merge]) for i in range(0, n, merge)]
    edges = [0.0, 1.0]
    if samples < len(groups):
        chance_G = chances(np.array(groups) + SURE, samples)
        assert chance_G.sum() == pytest.approx(samples) and (chance_G > 0).all()
        edges += list(chance_G.cumsum() % 1)
    edges = sorted(edges)
    expected_L = np.zeros(n)
    for low, high in pairwise(edges):
        if high - low < 1e-13:
            continue
        level = torch.tensor([(low + high) / 2], dtype=torch.float64)
        chance = Enumerated(torch.tensor([n]), level[None], torch.zeros(1, n))
        cover = estimator.views(steps, scored_BL, chance, logprob_BL)
        assert len(cover.hidden_KBn) == min(samples, len(groups))
        expected_L += (high - low) * cover.weight_KBn.sum((0, 1)).numpy()
    assert expected_L == pytest.approx(np.ones(n), abs=1e-10)


def test_doubt_is_taken_from_the_trace() -> None:
    """One step was a guess, the others were sure: with one view it is nearly always that step's."""
    trace = replace(walk([0, 1, 2, 3]), behaviour_logprob=np.log(np.float32([1, 1, 1, 1, 0.1, 1])))
    canvas, scored_BL = rows([4])
    estimator, guesses = Traced(samples=1, draw="doubt"), 0
    for iteration in range(300):
        made = plan(estimator, canvas, scored_BL, iteration=iteration, traces=(trace,))
        if made.weight_KBL[0, 0, 4] > 0:
            guesses += 1
            assert made.weight_KBL[0, 0, 4] == pytest.approx(0.98 / 0.92)
    assert 0.88 < guesses / 300 < 1  # 0.939 expected: four standard errors below


def test_chances_stop_at_1() -> None:
    assert chances(np.array([8.0, 1.0, 1.0]), 2) == pytest.approx([1, 0.5, 0.5])
    assert chances(np.array([8.0, 4.0, 1.0, 1.0]), 3) == pytest.approx([1, 1, 0.5, 0.5])


# --- what is refused ---------------------------------------------------------------------------


def test_bad_plans_are_refused_by_name() -> None:
    canvas, scored_BL = rows([4, 4])
    with pytest.raises(PlanError, match="row 1: no position"):
        plan(Count(), canvas, scored_BL & torch.tensor([[True], [False]]), iteration=0)
    with pytest.raises(PlanError, match="no traces for 2 rows"):
        plan(Traced(), canvas, scored_BL, iteration=0)
    with pytest.raises(PlanError, match="column 3 is scored, but its trace"):
        plan(Traced(), *rows([4]), iteration=0, traces=(walk([0, -1, 1, 2]),))
    with pytest.raises(PlanError, match="its own token would be read"):
        MaskPlan(torch.zeros(1, 1, 2).bool(), torch.ones(1, 1, 2).double(), torch.tensor([2]))
    bad: list[Callable[[], object]] = [
        lambda: Count(0),
        lambda: Coupled(pairs=0),
        lambda: Coupled(times=(0.0, 0.8)),
        lambda: Coupled("unbiased", shared_time=True),
        lambda: Full(1.0),
        lambda: Bernoulli(eps=0.0),
        lambda: Traced(merge=0),
        lambda: Traced(samples=0),
    ]
    for make in bad:
        with pytest.raises(PlanError):
            make()


def test_passes_are_views_with_a_target() -> None:
    canvas, scored_BL = rows([1, 6])
    assert plan(Coupled("unbiased"), canvas, scored_BL, iteration=0).passes_B.tolist() == [1, 3]
    assert plan(LeftToRight(), canvas, scored_BL, iteration=0).passes_B.tolist() == [1, 6]
    assert math.isclose(float(plan(Full(), canvas, scored_BL, iteration=0).weight_KBL.sum()), 7)
