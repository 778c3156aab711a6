"""The sandwich: its expectations and its direction, by enumeration."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, permutations, product

import numpy as np
import pytest
import torch
from torch import Tensor

from diffucode.errors import PlanError
from diffucode.rl.likelihood import Targets, sandwich_weights, sandwiched
from diffucode.rl.masking import Cover, MaskPlan, Sandwich

Set = frozenset[int]
View = tuple[Set, float]
"""What is hidden, and what each position of it counts."""
BETAS = (0.5, 1.0, 1.5, 2.0)


class Model:
    """ln p of position i when S is hidden, any table: ``term(i, S)``."""

    def __init__(self, n: int, seed: int = 0, scale: float = 1.0) -> None:
        self.n = n
        self.table = -scale * np.random.default_rng([seed, n]).exponential(size=(n, 2**n))

    def term(self, i: int, hidden: Set) -> float:
        assert i in hidden
        return float(self.table[i, sum(1 << j for j in hidden)])

    def set(self, i: int, hidden: Set, value: float) -> None:
        self.table[i, sum(1 << j for j in hidden)] = value

    def exact(self) -> float:
        """ln p of decoding one position a step in a random order."""
        return math.log(np.mean([math.exp(one) for one in self.chains()]))

    def elbo(self) -> float:
        return float(np.mean(self.chains()))

    def chains(self) -> list[float]:
        """ln p along every order."""
        orders = permutations(range(self.n))
        return [sum(self.term(o[i], frozenset(o[i:])) for i in range(self.n)) for o in orders]

    def eubo(self, beta: float) -> float:
        """By orders: (1/beta) ln of the mean of p_i^beta over what an order hides when it comes to i."""
        orders = list(permutations(range(self.n)))
        return sum(
            math.log(
                np.mean([math.exp(beta * self.term(i, frozenset(o[o.index(i) :]))) for o in orders])
            )
            / beta
            for i in range(self.n)
        )


def sets(some: range | Set, size: int) -> list[Set]:
    return [frozenset(one) for one in combinations(sorted(some), size)]


def value(model: Model, estimator: Sandwich, views: list[View], advantage: float) -> float:
    """The estimate of a draw, from its definition, position by position."""
    terms = [[(a, model.term(i, s)) for s, a in views if i in s] for i in range(model.n)]
    lower = sum(a * term for each in terms for a, term in each)
    if advantage >= 0:
        return lower
    upper, hidden = 0.0, [each for each in terms if each]
    for each in hidden:
        inside = sum(a * math.exp(estimator.beta * term) for a, term in each)
        share = sum(a for a, _ in each)
        if estimator.weighting == "paper":
            upper += model.n / len(hidden) * math.log(inside) / estimator.beta
        else:
            upper += share * math.log(inside / share) / estimator.beta
    return estimator.mix * upper + (1 - estimator.mix) * lower


def drawn(estimator: Sandwich, n: int) -> Iterator[tuple[float, list[View]]]:
    """Every draw of all views together, with its probability, from the definition."""
    m = estimator.samples
    laws: list[list[tuple[float, View]]] = []
    for j in range(m):
        law = []
        if estimator.block is None:
            for k in range(1, n + 1):
                odds = m * max(0.0, min((j + 1) / m, k / n) - max(j / m, (k - 1) / n))
                law += [(odds / math.comb(n, k), (s, n / (m * k))) for s in sets(range(n), k)]
        else:
            blocks = [
                range(at, min(at + estimator.block, n)) for at in range(0, n, estimator.block)
            ]
            many = len(blocks)
            for c, inside in enumerate(blocks):
                odds = m * max(0.0, min((j + 1) / m, (c + 1) / many) - max(j / m, c / many))
                for k in range(1, len(inside) + 1):
                    for s in sets(inside, k):
                        hidden = s | frozenset(range(inside.stop, n))
                        each = odds / len(inside) / math.comb(len(inside), k)
                        law.append((each, (hidden, n / (m * len(hidden)))))
        laws.append([one for one in law if one[0] > 0])
    for draw in product(*laws):
        yield math.prod(odds for odds, _ in draw), [view for _, view in draw]


@dataclass
class Every:
    """Chances of all draws at once: a level for each draw, and an order for each."""

    size_B: Tensor
    level_DB: Tensor
    noise_DBn: Tensor

    @property
    def inside_Bn(self) -> Tensor:
        return torch.arange(self.noise_DBn.shape[2]) < self.size_B[:, None]

    def level(self, draw: int) -> Tensor:
        return self.level_DB[draw]

    def shared_level(self, draw: int) -> Tensor:
        raise AssertionError

    def noise(self, draw: int) -> Tensor:
        return self.noise_DBn[draw]


def chances(estimator: Sandwich, n: int) -> Every:
    """Levels in cells in which no block and no count changes, for each of the draws, with every order."""
    cells = [n] * estimator.samples
    if estimator.block is not None:
        blocks, counts = math.ceil(n / estimator.block), math.lcm(*range(1, estimator.block + 1))
        cells = [blocks] * estimator.samples + [counts] * estimator.samples
    levels = [[(c + 0.5) / many for c in range(many)] for many in cells]
    orders = [list(permutations(range(n)))] * estimator.samples
    every = list(product(*levels, *orders))
    level_DB = torch.tensor([one[: len(cells)] for one in every]).double().T
    noise_DBn = torch.tensor([one[len(cells) :] for one in every]).double().transpose(0, 1)
    return Every(torch.full((len(every),), n), level_DB, noise_DBn)


def plan_of(cover: Cover) -> MaskPlan:
    return MaskPlan(*cover, cover.hidden_KBn.new_ones(cover.hidden_KBn.shape[1:]).sum(1))


def targets_of(made: MaskPlan, model: Model) -> tuple[Targets, Tensor]:
    """The targets of a plan of scored positions alone, and their log-probabilities."""
    row_N, view_N, col_N = (made.weight_KBL != 0).transpose(0, 1).nonzero(as_tuple=True)
    weight_N = made.weight_KBL[view_N, row_N, col_N]
    code_KB = (made.hidden_KBL.long() << torch.arange(model.n)).sum(2)
    logprob_N = torch.from_numpy(model.table)[col_N, code_KB[view_N, row_N]]
    return Targets(view_N, row_N, col_N, weight_N, torch.zeros_like(row_N)), logprob_N


def estimates(model: Model, estimator: Sandwich, made: MaskPlan, advantage: float) -> Tensor:
    advantage_B = torch.full(made.denom_B.shape, advantage)
    return sandwiched(estimator, made, *targets_of(made, model), advantage_B)


def of_all_sets(n: int) -> MaskPlan:
    """A row with a view for every set, weighed as ELBO does: the expectations themselves."""
    views = [(s, 1 / (k * math.comb(n, k))) for k in range(1, n + 1) for s in sets(range(n), k)]
    hidden_KBn = torch.tensor([[[i in s for i in range(n)]] for s, _ in views])
    weight_K = torch.tensor([a for _, a in views], dtype=torch.float64)
    return MaskPlan(hidden_KBn, hidden_KBn * weight_K[:, None, None], torch.tensor([n]))


CASES = [
    Sandwich("normalised"),
    Sandwich("normalised", beta=0.7, mix=1.0),
    Sandwich("normalised", 3),
    Sandwich(),
    Sandwich(beta=1.0, mix=0.25),
    Sandwich(samples=3, beta=2.0),
]


@pytest.mark.parametrize("estimator", CASES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_expectations_are_those_of_the_definition(estimator: Sandwich, n: int) -> None:
    model = Model(n)
    made = plan_of(estimator.cover(chances(estimator, n)))
    draws = list(drawn(estimator, n))
    assert sum(odds for odds, _ in draws) == pytest.approx(1, abs=1e-12)
    for advantage in (2.0, -0.5):
        found = float(estimates(model, estimator, made, advantage).mean())
        wanted = sum(odds * value(model, estimator, views, advantage) for odds, views in draws)
        assert found == pytest.approx(wanted, abs=1e-10)
    assert float(estimates(model, estimator, made, 0.0).mean()) == pytest.approx(
        model.elbo(), abs=1e-10
    )


@pytest.mark.parametrize("weighting", ["normalised", "paper"])
@pytest.mark.parametrize("block", [1, 2, 3])
def test_blocks_expect_what_their_definition_says(weighting: str, block: int) -> None:
    """Every block with its own counts, all before it shown and all after it hidden."""
    estimator, n = Sandwich(weighting, block=block), 3  # type: ignore[arg-type]
    model = Model(n)
    made = plan_of(estimator.cover(chances(estimator, n)))
    for advantage in (1.0, -1.0):
        found = float(estimates(model, estimator, made, advantage).mean())
        wanted = sum(
            odds * value(model, estimator, views, advantage) for odds, views in drawn(estimator, n)
        )
        assert found == pytest.approx(wanted, abs=1e-10)
    wanted = n * np.mean(
        [of_block(model, range(at, min(at + block, n))) for at in range(0, n, block)]
    )
    assert float(estimates(model, estimator, made, 1.0).mean()) == pytest.approx(wanted, abs=1e-10)
    if block == n:
        assert wanted == pytest.approx(model.elbo(), abs=1e-10)


def of_block(model: Model, inside: range) -> float:
    """The mean over k, sets of the block and what these and all after it hide."""
    after = frozenset(range(inside.stop, model.n))
    means = []
    for k in range(1, len(inside) + 1):
        hidden = [s | after for s in sets(inside, k)]
        means.append(np.mean([np.mean([model.term(i, s) for i in s]) for s in hidden]))
    return float(np.mean(means))


# --- the direction -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_all_sets_together_are_elbo_and_eubo(n: int) -> None:
    """Against means over orders."""
    for seed, beta in product(range(3), BETAS):
        model, estimator = Model(n, seed), Sandwich("normalised", beta=beta, mix=1.0)
        lower, upper = (float(estimates(model, estimator, of_all_sets(n), a)) for a in (1, -1))
        assert lower == pytest.approx(model.elbo(), abs=1e-10)
        assert upper == pytest.approx(model.eubo(beta), abs=1e-10)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_exact_log_likelihood_is_between_them(n: int) -> None:
    """With an order beta of n: for any table whatever, Hoelder's inequality."""
    for seed, scale in product(range(50), (0.3, 1.0, 4.0)):
        model, estimator = Model(n, seed, scale), Sandwich("normalised", beta=n, mix=1.0)
        lower, upper = (float(estimates(model, estimator, of_all_sets(n), a)) for a in (1, -1))
        assert lower <= model.exact() + 1e-10 and model.exact() <= upper + 1e-10
        assert n == 1 or lower < upper


@pytest.mark.parametrize("beta", BETAS)
def test_where_all_orders_agree_every_beta_is_an_upper_bound(beta: float) -> None:
    """Conditionals of one joint distribution: ELBO is ln p itself, and any beta is above it."""
    n, vocab = 3, 3
    joint = np.random.default_rng(0).dirichlet(np.ones(vocab**n) * 0.3).reshape((vocab,) * n)
    model, x = Model(n), (1, 2, 0)
    for k in range(1, n + 1):
        for hidden, i in product(sets(range(n), k), range(n)):
            if i in hidden:
                seen = joint[tuple(slice(None) if j in hidden else x[j] for j in range(n))]
                own = sorted(hidden).index(i)
                at = seen.sum(tuple(axis for axis in range(k) if axis != own))
                model.set(i, hidden, math.log(at[x[i]] / at.sum()))
    exact = math.log(joint[x])
    assert model.exact() == pytest.approx(exact) == pytest.approx(model.elbo())
    estimator = Sandwich("normalised", beta=beta, mix=1.0)
    assert float(estimates(model, estimator, of_all_sets(n), -1)) > exact + 0.01


def test_a_small_beta_is_no_upper_bound_without_a_constant() -> None:
    """One order is sure of both tokens, the other of none: ln p is ln 1/2, EUBO (n / beta) ln 1/2."""
    model = Model(2)
    both = frozenset({0, 1})
    model.set(0, both, 0.0)
    model.set(1, frozenset({1}), 0.0)
    model.set(1, both, -60.0)
    model.set(0, frozenset({0}), -60.0)
    assert model.exact() == pytest.approx(math.log(0.5))
    for beta in (1.0, 1.5, 2.0):
        upper = float(
            estimates(model, Sandwich("normalised", beta=beta, mix=1.0), of_all_sets(2), -1)
        )
        assert upper == pytest.approx(2 / beta * math.log(0.5))
        assert (upper >= model.exact() - 1e-10) == (beta == 2)


@pytest.mark.parametrize("n", [2, 3])
def test_draw_by_draw_the_upper_bound_is_above_the_lower_and_on_average_under_eubo(n: int) -> None:
    model, before = Model(n), -math.inf
    for samples in (2, 3):
        estimator = Sandwich("normalised", samples, mix=1.0)
        made = plan_of(estimator.cover(chances(estimator, n)))
        upper_B, lower_B = (estimates(model, estimator, made, a) for a in (-1, 1))
        assert (upper_B >= lower_B - 1e-12).all() and float((upper_B - lower_B).max()) > 0.01
        mean = float(upper_B.mean())
        assert model.elbo() < mean < model.eubo(estimator.beta)
        assert mean > before
        before = mean


def test_without_context_every_normalised_draw_agrees_with_the_lower_bound() -> None:
    model, estimator = Model(3), Sandwich("normalised", mix=1.0)
    model.table[:] = model.table[:, :1]
    made = plan_of(estimator.cover(chances(estimator, 3)))
    upper_B, lower_B = (estimates(model, estimator, made, a) for a in (-1, 1))
    assert torch.allclose(upper_B, lower_B, rtol=0, atol=1e-12)
    paper_B = estimates(model, Sandwich(mix=1.0), made, -1)
    assert not torch.allclose(paper_B, lower_B, atol=0.1)


# --- rows, weights, refusals -------------------------------------------------------------------


@pytest.mark.parametrize("weighting", ["normalised", "paper"])
def test_weights_follow_the_sign_and_divide_each_position_among_its_views(weighting: str) -> None:
    """Each position of an upper bound keeps its share, or has the same; its views divide it anew."""
    estimator = Sandwich(weighting, mix=1.0)  # type: ignore[arg-type]
    model = Model(3)
    made = plan_of(estimator.cover(chances(estimator, 3)))
    at, logprob_N = targets_of(made, model)
    rows = len(made.denom_B)
    advantage_B = torch.where(torch.arange(rows) % 2 == 0, 1.0, -1.0)
    weight_N = sandwich_weights(estimator, made, at, logprob_N, advantage_B)
    down_N = (advantage_B < 0)[at.row_N]
    assert torch.equal(weight_N[~down_N], at.weight_N[~down_N])
    assert (weight_N > 0).all() and not torch.allclose(weight_N[down_N], at.weight_N[down_N])

    def by_place(some_N: Tensor) -> Tensor:
        return torch.zeros(rows * 3).double().index_add(0, at.row_N * 3 + at.col_N, some_N)

    share, own = by_place(weight_N).view(rows, 3), by_place(at.weight_N).view(rows, 3)
    down_B = advantage_B < 0
    if weighting == "normalised":
        assert torch.allclose(share, own)
    else:
        hidden_Bn = own > 0
        alike = 3 / hidden_Bn.sum(1, keepdim=True) * hidden_Bn
        assert torch.allclose(share[down_B], alike[down_B].double())
    again = torch.arange(rows).flip(0)
    shuffled = made[again]
    moved_B = sandwiched(estimator, shuffled, *targets_of(shuffled, model), advantage_B[again])
    assert torch.allclose(
        moved_B, sandwiched(estimator, made, at, logprob_N, advantage_B)[again], atol=1e-12
    )


def test_what_is_no_sandwich_is_refused() -> None:
    bad: list[tuple[str, Callable[[], Sandwich]]] = [
        ("samples 1", lambda: Sandwich(samples=1)),
        ("beta 0", lambda: Sandwich(beta=0)),
        ("beta inf", lambda: Sandwich(beta=math.inf)),
        ("mix 0", lambda: Sandwich(mix=0)),
        ("mix 1.5", lambda: Sandwich(mix=1.5)),
        ("block 0", lambda: Sandwich(block=0)),
        ("prompt_noise 1", lambda: Sandwich(prompt_noise=1)),
    ]
    for message, make in bad:
        with pytest.raises(PlanError, match=message):
            make()
