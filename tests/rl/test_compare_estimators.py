"""The comparison of estimators, against models small enough for every figure to be enumerated."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import chain, combinations, product

import numpy as np
import pytest
import torch

from diffucode.decoding.engine import decode
from diffucode.decoding.plan import Request, SamplingPlan
from diffucode.decoding.schedule import Quota
from diffucode.decoding.trace import Trace
from diffucode.errors import ConfigError, PlanError
from diffucode.models.toy import TableDenoiser, tiny_transformer
from diffucode.protocols import Denoiser
from diffucode.rl.compare import (
    ESTIMATORS,
    REFERENCE,
    Comparison,
    Drawing,
    Products,
    Row,
    Settings,
    compare,
    cosine,
    is_fixed,
    noise_to_signal,
    signs,
)
from diffucode.rl.likelihood import score
from diffucode.rl.masking import (
    Autoregressive,
    Bernoulli,
    Estimator,
    Full,
    MaskPlan,
    Stratified,
    Traced,
)
from diffucode.sampling.temperature import Constant

VOCAB, MASK = 8, 7
SOME = {**ESTIMATORS, "bernoulli": Bernoulli(eps=0.05)}
"""With an eps whose shortfall of ELBO is seen in these few draws."""

Set = tuple[int, ...]
View = tuple[Set, float]
"""Hidden positions, and what each of them counts."""
Law = list[tuple[float, list[View]]]
"""Probabilities of what a draw can be."""


def decoded(denoiser: Denoiser, sizes: list[int], steps: int | None = None) -> tuple[Trace, ...]:
    plan = SamplingPlan(Constant(1.0), schedule=Quota(steps))
    requests = [
        Request.completion(f"r{b}", [3] * (1 + b % 2), size, plan, seed=b)
        for b, size in enumerate(sizes)
    ]
    found = {one.request.id: one.trace for one in decode(denoiser, requests, capacity=4)}
    return tuple(found[request.id] for request in requests)


def table() -> TableDenoiser:
    return TableDenoiser(VOCAB, mask_id=MASK, terminator_ids=(), scale=1.0)


def few(*names: str) -> dict[str, Estimator]:
    return {name: ESTIMATORS[name] for name in ("count", *names)}


# --- the law of each estimator, from its definition --------------------------------------------


def sets(n: int, size: int) -> list[Set]:
    return list(combinations(range(n), size))


def rest(n: int, hidden: Set) -> Set:
    return tuple(i for i in range(n) if i not in hidden)


def of_size(n: int, size: int, odds: float, weight: float) -> Law:
    some = sets(n, size)
    return [(odds / len(some), [(hidden, weight)]) for hidden in some]


def timed(n: int, low: float, high: float) -> Iterator[tuple[float, float, Set]]:
    """Probability, time and hidden positions where each is hidden with a uniform probability."""
    at, share = np.polynomial.legendre.leggauss(30)
    for t, a in zip(low + (high - low) * (at + 1) / 2, share / 2, strict=True):
        for size in range(n + 1):
            for hidden in sets(n, size):
                yield float(a * t**size * (1 - t) ** (n - size)), float(t), hidden


def laws(name: str, n: int, trace: Trace) -> list[Law]:
    """Independent draws whose sum is the estimate."""
    every = tuple(range(n))
    if name == "full":
        return [[(1.0, [(every, 1.0)])]]
    if name == "bernoulli":
        return [[(p, [(s, 0.95 / t)]) for p, t, s in timed(n, 0.05, 1.0)]]
    if name == "count":
        return [[one for k in range(1, n + 1) for one in of_size(n, k, 1 / n, n / k)]]
    if name == "stratified(4)":
        return strata(n, 4)
    if name == "elbo":
        return [
            [(1.0, [(s, 1 / (k * math.comb(n, k))) for k in range(1, n + 1) for s in sets(n, k)])]
        ]
    if name == "left to right":
        return [[(1.0, [(every[i:], 1.0) for i in every])]]
    if name.startswith("sandwich"):  # no sum over its views, so one draw of all
        return [
            [
                (math.prod(p for p, _ in parts), [view for _, views in parts for view in views])
                for parts in product(*strata(n, 2))
            ]
        ]
    if name in ("coupled paper", "coupled normalised"):
        paper = name == "coupled paper"
        return [
            [
                (
                    p,
                    [
                        (every, 0.5),
                        (s, 0.5 / t if paper else 0.5),
                        (rest(n, s), 0.5 / (1 - t) if paper else 0.5),
                    ],
                )
                for p, t, s in timed(n, 0.2, 0.8)
            ]
        ]
    if name == "coupled unbiased":
        if n == 1:
            return [[(1.0, [(every, 1.0)])]]
        return [
            [
                (
                    1 / ((n - 1) * math.comb(n, k)),
                    [
                        (every, 1 / n),
                        (s, (n - 1) / (2 * k)),
                        (rest(n, s), (n - 1) / (2 * (n - k))),
                    ],
                )
                for k in range(1, n)
                for s in sets(n, k)
            ]
        ]
    if name in ("decoupled paper", "decoupled normalised"):
        paper, draws = name == "decoupled paper", list(timed(n, 0.2, 0.8))
        return [
            [(1.0, [(every, 0.5)])],
            [(p, [(s, 0.5 / t if paper else 0.5)]) for p, t, s in draws],
            [(p, [(rest(n, s), 0.5 / (1 - t) if paper else 0.5)]) for p, t, s in draws],
        ]
    if name == "decoupled unbiased":
        if n == 1:
            return [[(1.0, [(every, 1.0)])]]
        odds = 1 / (n - 1)
        one = [law for k in range(1, n) for law in of_size(n, k, odds, (n - 1) / (2 * k))]
        return [[(1.0, [(every, 1 / n)])], one, one]
    if name == "espo":
        return [
            [
                (
                    1 / ((n + 1) * math.comb(n, k)),
                    [
                        (s, (n + 1) / (2 * max(k, 1))),
                        (rest(n, s), (n + 1) / (2 * max(n - k, 1))),
                    ],
                )
                for k in range(n + 1)
                for s in sets(n, k)
            ]
        ]
    if name == "quad(3)":
        at, share = np.polynomial.legendre.leggauss(3)
        sizes = [(max(1, round(t * n)), a) for t, a in zip((at + 1) / 2, share / 2, strict=True)]
        return [of_size(n, k, 1.0, float(a) * n / k) for k, a in sizes]
    raise AssertionError(name)


def strata(n: int, many: int) -> list[Law]:
    found = []
    for j in range(many):
        law: Law = []
        for k in range(1, n + 1):
            shared = min((j + 1) / many, k / n) - max(j / many, (k - 1) / n)
            law += of_size(n, k, many * shared, n / (many * k)) if shared > 0 else []
        found.append(law)
    return found


def upper(
    name: str, n: int, views: list[View], term: Callable[[int, Set], float]
) -> tuple[float, dict[tuple[int, Set], float]]:
    """The bound of a sandwich of order 1.5, and its slope by each ln p_i(S)."""
    value, slope = 0.0, {}
    hidden = [i for i in range(n) if any(i in s for s, _ in views)]
    for i in hidden:
        mine = [(s, w) for s, w in views if i in s]
        share = sum(w for _, w in mine)
        inside = sum(w * math.exp(1.5 * term(i, s)) for s, w in mine)
        outer = n / len(hidden) if name == "sandwich paper" else share
        value += outer * math.log(inside / (1 if name == "sandwich paper" else share)) / 1.5
        for s, w in mine:
            own = outer * w * math.exp(1.5 * term(i, s)) / inside
            slope[i, s] = slope.get((i, s), 0) + own
    return value, slope


class Truth:
    """Every ln p_i(S) of one completion, and what follows for an estimator."""

    def __init__(self, denoiser: TableDenoiser, trace: Trace, sign: float) -> None:
        self.trace, self.columns = trace, np.flatnonzero(trace.step >= 0)
        self.n, self.sign = len(self.columns), sign

        @cache
        def term(i: int, hidden: Set) -> float:
            opened = np.isin(np.arange(len(trace.token)), self.columns[list(hidden)])
            column = int(self.columns[i])
            logits = denoiser.logits_for(trace.token.tolist(), opened.tolist(), column)
            return float(logits.log_softmax(0)[trace.token[column]])

        self.term = term

    def total(self, hidden: Set) -> float:
        return sum(self.term(i, hidden) for i in hidden)

    def value(self, name: str, views: list[View]) -> float:
        lower = sum(w * self.total(s) for s, w in views)
        if name.startswith("sandwich") and self.sign < 0:
            return (lower + upper(name, self.n, views, self.term)[0]) / 2
        return lower

    def moments(self, name: str, law: Law) -> tuple[float, float, float]:
        """Mean, variance and forward passes."""
        odds = np.array([p for p, _ in law])
        value = np.array([self.value(name, views) for _, views in law])
        passes = np.array([sum(1 for s, _ in views if s) for _, views in law])
        assert odds.sum() == pytest.approx(1)
        mean = float(odds @ value)
        return mean, float(odds @ (value - mean) ** 2), float(odds @ passes)

    def of(self, name: str) -> tuple[float, float, float]:
        if name == "left to right":
            value = sum(self.term(i, tuple(range(i, self.n))) for i in range(self.n))
            return value, 0.0, float(self.n)
        if name == "trace":
            step = self.trace.step[self.columns]
            value = 0.0
            for i in range(self.n):
                value += self.term(i, tuple(np.flatnonzero(step >= step[i]).tolist()))
            return value, 0.0, float(len(set(step.tolist())))
        parts = [self.moments(name, law) for law in laws(name, self.n, self.trace)]
        mean, variance, passes = (sum(part[i] for part in parts) for i in range(3))
        return mean, variance, passes

    def elbo(self) -> float:
        return sum(
            float(np.mean([self.total(s) for s in sets(self.n, k)])) / k
            for k in range(1, self.n + 1)
        )


@pytest.fixture(scope="module")
def enumerable() -> tuple[Comparison, list[Truth]]:
    """48 completions, 50 draws."""
    denoiser = table()
    traces = decoded(denoiser, [4, 3, 4, 2, 4, 3, 4, 4, 1, 4, 3, 4] * 4, steps=2)
    settings = Settings(draws=50, gradient_draws=0)
    return compare(denoiser, traces, settings, estimators=SOME), [
        Truth(denoiser, trace, sign) for trace, sign in zip(traces, signs(traces, 0), strict=True)
    ]


def row(found: Comparison, name: str) -> Row:
    return next(one for one in found.rows if one.name == name)


@pytest.mark.parametrize("name", SOME)
def test_bias_variance_and_passes_are_the_enumerated_ones(
    enumerable: tuple[Comparison, list[Truth]], name: str
) -> None:
    """Biases within 1.5 times their 99 % interval: a change of the noise fails 1 in 900 of all rows.
    Variances, of 2,400 draws, within a quarter."""
    found, truths = enumerable
    one = row(found, name)
    mean, variance, passes = np.mean([truth.of(name) for truth in truths], axis=0)
    base = np.mean([truth.of("count") for truth in truths], axis=0)
    bias = mean - np.mean([truth.elbo() for truth in truths])
    reach = one.bias.high - one.bias.value
    assert 0 < reach < 1
    assert abs(one.bias.value - bias) < 1.5 * reach
    assert abs(one.value.value - mean) <= 3 * (one.value.high - one.value.value) + 1e-6
    assert one.passes == pytest.approx(passes, abs=0.06)
    if name in ("full", "left to right", "trace"):
        assert one.fixed and one.value.value == pytest.approx(mean, abs=1e-6)
        assert one.variance[:3] == one.cost[:3] == one.per_token[:3] == (0, 0, 0)
        return
    assert not one.fixed
    assert one.variance.value == pytest.approx(variance, rel=0.25)
    assert one.variance.low < variance < one.variance.high
    cost = variance * passes / (base[1] * base[2])
    assert one.cost.value == pytest.approx(cost, rel=0.3)
    token = np.mean([truth.of(name)[1] / truth.n**2 for truth in truths])
    assert one.per_token.value == pytest.approx(math.sqrt(token), rel=0.15)


def test_elbo_is_the_enumerated_one(enumerable: tuple[Comparison, list[Truth]]) -> None:
    found, truths = enumerable
    elbo, wanted = found.elbo, np.mean([truth.elbo() for truth in truths])
    assert 0 < elbo.high - elbo.low < 0.5 and elbo.low < wanted < elbo.high
    assert found.reference_passes == 400
    assert (found.prompts, found.completions) == (48, 48)
    assert found.tokens == sum(truth.n for truth in truths)


def test_only_what_is_biased_is_called_so(enumerable: tuple[Comparison, list[Truth]]) -> None:
    """The unbiased ones with odds of 1 in 20 for one of them after a change of the noise."""
    found, _ = enumerable
    biased = {one.name for one in found.rows if one.biased}
    assert {"full", "coupled paper", "decoupled paper"} <= biased
    unbiased = {"count", "stratified(4)", "coupled unbiased", "decoupled unbiased", "espo"}
    assert not biased & unbiased
    assert "sandwich normalised" in biased and row(found, "sandwich normalised").bias.value > 0


def test_the_count_is_the_measure_of_the_others(
    enumerable: tuple[Comparison, list[Truth]],
) -> None:
    assert row(enumerable[0], "count").cost[:3] == (1, 1, 1)


def test_a_trace_of_which_nothing_follows_an_end_is_the_logged_one() -> None:
    denoiser = tiny_transformer(VOCAB, terminator_ids=())
    traces = decoded(denoiser, [6, 5], steps=3)
    found = compare(denoiser, traces, Settings(2, 0), estimators=few("trace"))
    logged = np.mean([trace.raw_logprob.sum() for trace in traces])
    assert row(found, "trace").value.value == pytest.approx(logged, abs=1e-4)
    assert row(found, "trace").passes == 3


def test_variance_is_unbiased_from_two_draws() -> None:
    denoiser = table()
    traces = decoded(denoiser, [4, 4, 3])
    settings = Settings(draws=2, gradient_draws=0)
    drawn = Drawing.of(denoiser, traces, settings).values(
        Stratified(4), range(2), lambda done: None
    )
    found = row(
        compare(denoiser, traces, settings, estimators=few("stratified(4)")), "stratified(4)"
    )
    wanted = ((drawn.value_RC[0] - drawn.value_RC[1]) ** 2 / 2).mean()
    assert found.variance.value == pytest.approx(wanted) and wanted > 0


# --- gradients ---------------------------------------------------------------------------------

ADVANTAGES = [1.0, -0.5]


Gradients = Callable[[str], tuple[torch.Tensor, float]]
"""E g of an estimator, and E|g - E g|^2."""


def enumerated(denoiser: torch.nn.Module, traces: tuple[Trace, ...]) -> Gradients:
    """Completion by completion, position by position and set by set."""
    drawing = Drawing.of(denoiser, traces, Settings())  # type: ignore[arg-type]
    parameters = list(denoiser.parameters())

    @cache
    def position(b: int, i: int, hidden: Set) -> tuple[float, torch.Tensor]:
        columns = np.flatnonzero(traces[b].step >= 0)
        hidden_KBL = torch.zeros_like(drawing.rows.scored_BL)[None].clone()
        hidden_KBL[0, b, columns[list(hidden)]] = True
        weight_KBL = torch.zeros(hidden_KBL.shape).double()
        weight_KBL[0, b, columns[i]] = 1
        plan = MaskPlan(hidden_KBL, weight_KBL, drawing.rows.scored_BL.sum(1))
        found = score(denoiser, drawing.rows.canvas, plan)  # type: ignore[arg-type]
        parts = torch.autograd.grad(found.logprob_N.sum(), parameters)
        return float(found.logprob_N.detach()), torch.cat(
            [part.flatten() for part in parts]
        ).double()

    def draw(name: str, b: int, n: int, views: list[View]) -> torch.Tensor:
        slope: dict[tuple[int, Set], float] = {}
        for hidden, w in views:
            for i in hidden[:1] if name == "left to right" else hidden:
                slope[i, hidden] = slope.get((i, hidden), 0) + w
        if name.startswith("sandwich") and ADVANTAGES[b] < 0:
            bound = upper(name, n, views, lambda i, s: position(b, i, s)[0])[1]
            slope = {at: (w + bound[at]) / 2 for at, w in slope.items()}
        total = sum(w * position(b, *at)[1] for at, w in slope.items())
        assert isinstance(total, torch.Tensor)
        return total

    def gradients(name: str) -> tuple[torch.Tensor, float]:
        mean, noise = torch.zeros(sum(p.numel() for p in parameters)).double(), 0.0
        for b, trace in enumerate(traces):
            n = int((trace.step >= 0).sum())
            for law in laws(name, n, trace):
                draws = [(p, draw(name, b, n, views)) for p, views in law]
                own = sum(p * g for p, g in draws)
                assert isinstance(own, torch.Tensor)
                mean += ADVANTAGES[b] * own
                noise += ADVANTAGES[b] ** 2 * sum(
                    p * float((g - own) @ (g - own)) for p, g in draws
                )
        return mean, noise

    return gradients


NOISY = ("count", "stratified(4)", "coupled unbiased", "coupled paper", "sandwich paper")
DIRECTED = (*NOISY, "full", "left to right")


@pytest.fixture(scope="module")
def noisy() -> tuple[Comparison, dict[str, tuple[torch.Tensor, float]]]:
    """Two completions of three positions, 60 draws of their gradient."""
    denoiser = tiny_transformer(VOCAB, 1, 16, terminator_ids=())
    traces = decoded(denoiser, [3, 3])
    of = enumerated(denoiser, traces)
    truth = {name: of(name) for name in (*DIRECTED, "elbo")}
    settings = Settings(draws=2, gradient_draws=60)
    some = few(*DIRECTED[1:])
    return compare(denoiser, traces, settings, estimators=some, advantages=ADVANTAGES), truth


@pytest.mark.parametrize("name", NOISY)
def test_the_noise_of_the_gradient_is_the_enumerated_one(
    noisy: tuple[Comparison, dict[str, tuple[torch.Tensor, float]]], name: str
) -> None:
    """Within 1.5 times the 95 % intervals, in logarithms: 1 in 100 changes of the noise fails."""
    found, gradients = noisy
    truth = {name: noise / float(mean @ mean) for name, (mean, noise) in gradients.items()}
    one = row(found, name)
    relative = truth[name] * one.passes / truth["count"]
    for estimate, wanted in ((one.noise, truth[name]), (one.noise_cost, relative)):
        assert estimate is not None and estimate.low <= estimate.value <= estimate.high
        reach = math.log(estimate.high / estimate.value)
        assert reach < 1.5
        assert abs(math.log(estimate.value / wanted)) <= 1.5 * reach + 1e-9
        assert estimate.n == 60


@pytest.mark.parametrize("name", DIRECTED)
def test_the_direction_of_the_gradient_is_the_enumerated_one(
    noisy: tuple[Comparison, dict[str, tuple[torch.Tensor, float]]], name: str
) -> None:
    """Within 1.5 times the 95 % interval and 0.01: near 1, where errors are of second order, the jackknife's
    intervals are rough."""
    found, gradients = noisy
    (mean, _), (elbo, _) = gradients[name], gradients["elbo"]
    wanted = float(mean @ elbo / mean.norm() / elbo.norm())
    estimate = row(found, name).cosine
    assert estimate is not None and estimate.n == 60
    reach = estimate.high - estimate.value
    assert 0 < reach < 0.15
    assert abs(estimate.value - wanted) <= 1.5 * reach + 0.01
    if name in ("count", "stratified(4)", "coupled unbiased"):
        assert wanted == pytest.approx(1, abs=1e-6)
    else:
        assert wanted < 0.9995


def test_one_plan_has_no_noise(
    noisy: tuple[Comparison, dict[str, tuple[torch.Tensor, float]]],
) -> None:
    for name in ("full", "left to right"):
        one = row(noisy[0], name)
        assert one.fixed and one.noise is not None and one.noise[:3] == (0, 0, 0)


def test_noise_to_signal_is_unbiased_in_both_its_parts() -> None:
    """Few normal draws in 50 dimensions, many times: |E g|^2 = 8, E|g - E g|^2 = 50."""
    rng, own, signal = np.random.default_rng(0), 0.0, 0.0
    for _ in range(2000):
        draw_DP = rng.normal(0.4, 1, size=(4, 50))
        inner_DD = draw_DP @ draw_DP.T
        cross = (inner_DD.sum() - np.trace(inner_DD)) / 12
        signal += cross / 2000
        own += (np.trace(inner_DD) / 4 - cross) / 2000
        if cross > 0:
            assert noise_to_signal(inner_DD, np.arange(4)) == pytest.approx(
                (np.trace(inner_DD) / 4 - cross) / cross
            )
    assert signal == pytest.approx(8, rel=0.05) and own == pytest.approx(50, rel=0.02)
    assert math.isnan(noise_to_signal(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.arange(2)))


def test_the_gradient_of_elbo_has_plans_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser = tiny_transformer(VOCAB, 1, 16)
    asked: dict[Estimator, range] = {}
    gradients = Drawing.gradients

    def seen(self: Drawing, estimator: Estimator, iterations: range) -> torch.Tensor:
        asked[estimator] = iterations
        return gradients(self, estimator, iterations)

    monkeypatch.setattr(Drawing, "gradients", seen)
    compare(denoiser, decoded(denoiser, [3]), Settings(2, 3), estimators=few("full"))
    assert {len(one) for one in asked.values()} == {3} and len(asked) == 3
    assert set(asked.pop(REFERENCE)).isdisjoint(chain.from_iterable(asked.values()))


def test_a_cosine_is_not_pulled_to_0_by_noise() -> None:
    """Six normal draws each in 2,000 dimensions, where means of draws are twice as long as they should be."""
    rng, found, plain = np.random.default_rng(0), [], []
    mean_P, other_P = np.zeros(2000), np.zeros(2000)
    mean_P[0], other_P[:2] = 14, (8, 11)
    for _ in range(200):
        own_DP = mean_P + rng.normal(size=(6, 2000))
        elbo_DP = other_P + rng.normal(size=(6, 2000))
        products = Products(own_DP @ own_DP.T, own_DP @ elbo_DP.T, elbo_DP @ elbo_DP.T)
        found.append(cosine(products, np.arange(6)))
        one_P, two_P = own_DP.mean(0), elbo_DP.mean(0)
        plain.append(one_P @ two_P / np.linalg.norm(one_P) / np.linalg.norm(two_P))
    wanted = 8 / math.hypot(8, 11)
    assert np.mean(found) == pytest.approx(wanted, abs=0.02) and np.mean(plain) < 0.5 * wanted
    one = Products(own_DP[:1] @ own_DP[:1].T, own_DP[:1] @ elbo_DP.T, elbo_DP @ elbo_DP.T)
    own = cosine(one, np.array([0, 2, 3]))
    pairs = [elbo_DP[i] @ elbo_DP[j] for i, j in ((0, 2), (0, 3), (2, 3))]
    length = math.sqrt(own_DP[0] @ own_DP[0] * np.mean(pairs))
    assert own == pytest.approx(np.mean([own_DP[0] @ elbo_DP[i] for i in (0, 2, 3)]) / length)
    opposed = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert math.isnan(cosine(Products(opposed, opposed, np.ones((2, 2))), np.arange(2)))


# --- a pure function ---------------------------------------------------------------------------


def test_the_seed_decides_and_the_batch_size_does_not() -> None:
    denoiser = tiny_transformer(VOCAB, 1, 16)
    traces = decoded(denoiser, [5, 4, 6])
    settings = Settings(draws=3, gradient_draws=3, seed=1)
    told: list[tuple[str, int, int]] = []
    some = few("coupled paper", "left to right", "trace", "sandwich normalised")
    first = compare(denoiser, traces, settings, estimators=some, progress=lambda *x: told.append(x))
    again = compare(denoiser, traces, settings, estimators=some)
    assert again.to_json() == first.to_json()  # in which NaN is null
    other = compare(denoiser, traces, replace(settings, seed=2), estimators=some)
    assert all(a.value != b.value for a, b in zip(first.rows[:2], other.rows[:2], strict=True))
    for title, total in (("values", 6 * 3), ("gradients", 6)):
        done = [d for one, d, n in told if one == title]
        assert done == sorted(done) and done[-1] == total
    apart = compare(denoiser, traces, replace(settings, batch_size=1), estimators=some)
    for one, other in zip(first.rows, apart.rows, strict=True):
        for name in ("value", "bias", "variance", "cost", "noise", "noise_cost", "cosine"):
            pair = [getattr(which, name)[0] for which in (one, other)]
            assert pair[0] == pytest.approx(pair[1], rel=1e-3, abs=1e-5, nan_ok=True), name
        assert one.passes == other.passes
    json.dumps(first.to_json(), allow_nan=False)


def test_signs_follow_the_completion_and_not_its_place() -> None:
    denoiser = table()
    traces = decoded(denoiser, [2] * 40)
    found = signs(traces, 0)
    assert set(found) == {1.0, -1.0}
    assert signs(decoded(denoiser, [2] * 40)[::-1], 0) == found[::-1]
    assert signs(traces, 1) != found  # 2**-40 by chance
    assert Drawing.of(denoiser, traces, Settings(seed=1)).advantage_C.tolist() == signs(traces, 1)


def test_what_is_fixed_has_one_plan() -> None:
    denoiser = table()
    drawing = Drawing.of(denoiser, decoded(denoiser, [9, 12, 10]), Settings())
    for estimator in [*ESTIMATORS.values(), Full(0.3), Traced(samples=2)]:
        plans = [drawing.plan(estimator, i) for i in range(6)]
        same = all(torch.equal(plans[0].hidden_KBL, one.hidden_KBL) for one in plans)
        assert same == is_fixed(estimator), estimator


def test_single_positions_have_no_variance_and_no_measure() -> None:
    denoiser = tiny_transformer(VOCAB, 1, 16)
    some = few("stratified(4)")
    found = compare(denoiser, decoded(denoiser, [1, 1, 1]), Settings(4, 3), estimators=some)
    assert math.isnan(row(found, "stratified(4)").cost.value)
    assert row(found, "count").variance.value == 0
    assert found.to_json()["rows"][1]["cost"]["value"] is None


def test_what_cannot_be_compared_is_refused() -> None:
    denoiser = table()
    traces = decoded(denoiser, [2, 2])
    settings = Settings(2, 0)
    causal = TableDenoiser(VOCAB, mask_id=MASK, causal=True)
    with pytest.raises(PlanError, match="the model is causal"):
        compare(causal, traces, settings)
    with pytest.raises(PlanError, match="'left' on a bidirectional model"):
        compare(denoiser, traces, settings, estimators={**SOME, "ar": Autoregressive()})
    with pytest.raises(PlanError, match="expected 'count' among them"):
        compare(denoiser, traces, settings, estimators={"full": Full()})
    with pytest.raises(PlanError, match="3 advantages for 2 completions"):
        compare(denoiser, traces, settings, advantages=[1, 2, 3])
    with pytest.raises(PlanError, match="has no parameters"):
        compare(denoiser, traces, Settings(2, 3))
    for wrong in ({"draws": 1}, {"gradient_draws": 2}, {"batch_size": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Settings(**wrong)
