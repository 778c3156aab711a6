"""Which likelihood estimator to train with: bias and variance of each and of its gradient, on one model.

::

    prompts ──sample──> traces of C completions ──complete──> canvas, scored_BL
                                                                  │
    estimator ──plan, iteration r──> score ──> value_RC           R independent plans of each completion
                                       │
                                       └─────> gradient of sum_c A_c estimate_c ──> products of D plans'
                                               gradients with each other, and with D of ELBO's

Passes are what an estimator costs, so a variance counts times passes: the mean of twice as many plans has
half the variance. The completions are given: nothing here speaks of what sampling them contributes.

Plans of all estimators share their random numbers from iteration to iteration, so figures relative to
``count`` are of pairs; the reference for ELBO has iterations of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffucode.decoding.trace import Trace
from diffucode.errors import ConfigError, PlanError, PromptError
from diffucode.generate.prompted import Prompt, prepare
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import stream
from diffucode.metrics.jackknife import jackknife
from diffucode.metrics.passk import Estimate, bootstrap, clustered
from diffucode.progress import Progress, silent
from diffucode.protocols import Denoiser
from diffucode.rl.likelihood import Completed, complete, sandwiched, score
from diffucode.rl.masking import (
    Bernoulli,
    Count,
    Coupled,
    Espo,
    Estimator,
    Full,
    LeftToRight,
    MaskPlan,
    Quad,
    Sandwich,
    Stratified,
    Traced,
    plan,
)
from diffucode.sampling.noise import key

if TYPE_CHECKING:
    from diffucode.models.load import Loaded

Floats = NDArray[np.float64]

ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {
        "full": Full(),
        "bernoulli": Bernoulli(),
        "count": Count(),
        "stratified(4)": Stratified(4),
        "coupled paper": Coupled("paper"),
        "coupled normalised": Coupled("normalised"),
        "coupled unbiased": Coupled("unbiased"),
        "decoupled paper": Coupled("paper", complementary=False),
        "decoupled normalised": Coupled("normalised", complementary=False),
        "decoupled unbiased": Coupled("unbiased", complementary=False),
        "espo": Espo(),
        "quad(3)": Quad(3),
        "sandwich paper": Sandwich("paper"),
        "sandwich normalised": Sandwich("normalised"),
        "left to right": LeftToRight(),
        "trace": Traced(),
    }
)
BASELINE = "count"
REFERENCE = Stratified(8)
"""What ELBO and its gradient are taken from: as many draws of it as of the estimators, and none of theirs."""
SURE = 0.99
"""Confidence of the intervals of biases: of ten unbiased estimators one in ten tables shows one biased."""
PIECE = 1 << 22
"""Parameters whose inner products are taken at a time."""


@dataclass(frozen=True)
class Settings:
    """How much is drawn."""

    draws: int = 32
    """Plans of each completion, for the values."""
    gradient_draws: int = 8
    """Plans of the batch, for the gradients; 0: none."""
    seed: int = 0
    temperature: float = 1.0
    batch_size: int = 64
    """Rows of a forward pass. It changes no figure, but for rounding."""

    def __post_init__(self) -> None:
        if self.draws < 2:
            raise ConfigError(f"draws {self.draws}: expected at least 2, a variance needs them")
        if self.gradient_draws != 0 and self.gradient_draws < 3:
            raise ConfigError(
                f"gradient_draws {self.gradient_draws}: expected at least 3, or 0 for no gradients"
            )
        if self.batch_size < 1:
            raise ConfigError(f"batch_size {self.batch_size}: expected at least 1")


@dataclass(frozen=True)
class Row:
    """One estimator. Values are of a completion, in nats."""

    name: str
    expects: str
    """What its expectation is, in words."""
    fixed: bool
    """Every plan of a completion is the same: no variance, whatever it estimates."""
    passes: float
    """Forward passes of a completion."""
    value: Estimate
    """The estimate. Interval: Student's, from the draws."""
    bias: Estimate
    """``value`` minus ELBO, for these completions; at ``SURE``, from the draws of both."""
    variance: Estimate
    """Of a completion's estimate over plans, the mean over completions. Interval: prompts resampled."""
    cost: Estimate
    """Variance times passes, that of ``count`` being 1. Interval: prompts resampled."""
    per_token: Estimate
    """Root mean square of the standard deviation of the estimate divided by the scored positions."""
    noise: Estimate | None
    """E|g - E g|^2 / |E g|^2 of the gradient g of sum_c A_c estimate_c. Interval: jackknife of the draws.
    NaN where the draws do not show that E g is not 0; None where no gradients were asked for."""
    noise_cost: Estimate | None
    """Noise times passes, that of ``count`` being 1."""
    cosine: Estimate | None
    """Between E g and the gradient of sum_c A_c ELBO_c: the bias of the direction. Interval: jackknife of
    the draws of both; value and bounds may be beyond 1. NaN where the draws do not show one of the two."""

    @property
    def biased(self) -> bool:
        """Whether the bias is beyond its interval."""
        return not self.bias.low <= 0 <= self.bias.high

    def to_json(self) -> dict[str, Any]:
        """Estimates as objects; figures that are not numbers are null."""
        return _plain(self) | {"biased": self.biased}


@dataclass(frozen=True)
class Comparison:
    """All estimators on the same completions."""

    prompts: int
    completions: int
    tokens: int
    """Scored positions of all completions."""
    settings: Settings
    elbo: Estimate
    """Of a completion, nats, from ``reference_passes`` passes each. Interval: Student's, from the draws."""
    reference_passes: int
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """One JSON value."""
        return _plain(self) | {
            "settings": _plain(self.settings),
            "rows": [row.to_json() for row in self.rows],
        }


def sample(loaded: Loaded, prompts: Sequence[Prompt], settings: Settings) -> tuple[Trace, ...]:
    """A completion of each prompt at the model's usual pace, in the order of the prompts.

    Raises ConfigError for an autoregressive model, PromptError for a prompt that it has no room for.
    """
    if loaded.decoder == "ar":
        raise ConfigError(
            f"{loaded.name} is autoregressive: one pass gives its log-likelihood exactly, so there are "
            "no estimators to compare; expected a diffusion model"
        )
    config = GenerateConfig(
        temperature=settings.temperature, seed=settings.seed, batch_size=settings.batch_size
    )
    prepared = prepare(loaded, prompts, config)
    for id, reason in prepared.refused:
        raise PromptError(f"prompt {id!r}: {reason}")
    found = {
        done.id: done.trace
        for frame in stream(
            loaded, prepared.jobs(), decoder="diffusion", capacity=settings.batch_size
        )
        for done in frame.completions
    }
    return tuple(found[prompt.id] for prompt in prompts)


def compare(
    denoiser: Denoiser,
    traces: Sequence[Trace],
    settings: Settings,
    *,
    estimators: Mapping[str, Estimator] = ESTIMATORS,
    advantages: Sequence[float] | None = None,
    progress: Progress = silent,
) -> Comparison:
    """Every estimator on these completions; ``count`` has to be among them.

    ``advantages``: A_c of the policy gradient, whose signs also choose the bounds of ``sandwich``; None: 1 or
    -1, from the seed and the completion's name.
    A pure function of its arguments. Raises PlanError for an autoregressive model, for advantages that
    are not one a completion, and for gradients of a denoiser that has no parameters.
    """
    if denoiser.causal:
        raise PlanError(
            "the model is causal: one pass gives its log-likelihood exactly (the autoregressive "
            "estimator), so there is nothing to compare"
        )
    if BASELINE not in estimators:
        raise PlanError(
            f"estimators {', '.join(estimators)}: expected {BASELINE!r} among them, the others are "
            "measured by it"
        )
    drawing = Drawing.of(denoiser, traces, settings, advantages)
    draws, prompts = settings.draws, [trace.id for trace in traces]
    total = (len(estimators) + 1) * draws

    def values(estimator: Estimator, first: int, nth: int) -> Values:
        return drawing.values(
            estimator,
            range(first, first + draws),
            lambda done: progress("values", nth * draws + done, total),
        )

    elbo = values(REFERENCE, draws, 0).value_RC.mean(1)
    found = {
        name: values(estimator, 0, nth)
        for nth, (name, estimator) in enumerate(estimators.items(), start=1)
    }
    products: dict[str, Products] = {}
    if many := settings.gradient_draws:
        total = len(estimators) + 1
        progress("gradients", 0, total)
        elbo_DP = drawing.gradients(REFERENCE, range(many, 2 * many))
        elbo_DD = inner(elbo_DP, elbo_DP)
        for nth, (name, estimator) in enumerate(estimators.items(), start=1):
            progress("gradients", nth, total)
            own_DP = drawing.gradients(estimator, range(many))
            products[name] = Products(inner(own_DP, own_DP), inner(own_DP, elbo_DP), elbo_DD)
        progress("gradients", total, total)
    return Comparison(
        prompts=len(set(prompts)),
        completions=len(traces),
        tokens=int(drawing.rows.scored_BL.sum()),
        settings=settings,
        elbo=_mean(elbo),
        reference_passes=REFERENCE.strata * draws,
        rows=tuple(
            _row(
                name,
                estimator,
                found,
                elbo,
                products.get(name),
                products.get(BASELINE),
                drawing,
                prompts,
            )
            for name, estimator in estimators.items()
        ),
    )


# --- draws -------------------------------------------------------------------------------------


class Values(NamedTuple):
    """The estimates of C completions under R plans."""

    value_RC: Floats
    passes_C: Floats
    """The mean over plans."""
    fixed: bool


@dataclass(frozen=True)
class Drawing:
    """A model and completions, to be scored under one plan after the other."""

    denoiser: Denoiser
    traces: tuple[Trace, ...]
    rows: Completed
    advantage_C: Tensor
    """Float64."""
    settings: Settings

    @classmethod
    def of(
        cls,
        denoiser: Denoiser,
        traces: Sequence[Trace],
        settings: Settings,
        advantages: Sequence[float] | None = None,
    ) -> Drawing:
        rows = complete(traces, denoiser.terminator_ids, seed=settings.seed, device=denoiser.device)
        chosen = signs(traces, settings.seed) if advantages is None else advantages
        if len(chosen) != len(traces):
            raise PlanError(f"{len(chosen)} advantages for {len(traces)} completions")
        advantage_C = torch.tensor(chosen, dtype=torch.float64, device=denoiser.device)
        return cls(denoiser, tuple(traces), rows, advantage_C, settings)

    @property
    def size_C(self) -> Floats:
        """Scored positions."""
        size_C: Floats = self.rows.scored_BL.sum(1).double().cpu().numpy()
        return size_C

    def plan(self, estimator: Estimator, iteration: int) -> MaskPlan:
        return plan(
            estimator,
            *self.rows,
            iteration=iteration,
            seed=self.settings.seed,
            traces=self.traces,
        )

    @torch.no_grad()
    def values(
        self, estimator: Estimator, iterations: range, told: Callable[[int], None]
    ) -> Values:
        """The estimates under the plan of each iteration; one plan is scored where all are the same."""
        fixed = is_fixed(estimator)
        value, passes = [], []
        for done, iteration in enumerate(iterations[:1] if fixed else iterations, start=1):
            made = self.plan(estimator, iteration)
            value.append(self._estimate(estimator, made))
            passes.append(made.passes_B)
            told(done)
        told(len(iterations))
        value_RC = torch.stack(value).expand(len(iterations), -1)
        passes_C = torch.stack(passes).double().mean(0)
        return Values(value_RC.cpu().numpy(), passes_C.cpu().numpy(), fixed)

    def gradients(self, estimator: Estimator, iterations: range) -> Tensor:
        """The gradient of sum_c A_c estimate_c under the plan of each iteration, ``[D, P]`` on the host; one
        row where all are the same."""
        chosen = iterations[:1] if is_fixed(estimator) else iterations
        return torch.stack([self._gradient(estimator, self.plan(estimator, i)) for i in chosen])

    def _estimate(self, estimator: Estimator, made: MaskPlan) -> Tensor:
        total_C = torch.zeros_like(self.advantage_C)
        for rows, estimate_B in self._parts(estimator, made):
            total_C[rows] += estimate_B
        return total_C

    def _gradient(self, estimator: Estimator, made: MaskPlan) -> Tensor:
        """Float32 on the host, of all parameters in a row."""
        if not isinstance(self.denoiser, torch.nn.Module):
            raise PlanError("the denoiser has no parameters: ask for gradient_draws 0")
        parameters = [p for p in self.denoiser.parameters() if p.requires_grad]
        total = [torch.zeros_like(p, dtype=torch.float32) for p in parameters]
        for rows, estimate_B in self._parts(estimator, made):
            if not estimate_B.requires_grad:  # nothing is scored in these views
                continue
            loss = self.advantage_C[rows] @ estimate_B
            for sum_, gradient in zip(
                total, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True
            ):
                if gradient is not None:
                    sum_ += gradient
        return torch.cat([one.flatten() for one in total]).cpu()

    def _parts(self, estimator: Estimator, made: MaskPlan) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows (their numbers) and what some views add to their estimates, about ``batch_size`` pairs of them
        at a time; a sandwich, which is no sum over views, has all views of a row at once."""
        every_B = torch.arange(len(made.denom_B), device=made.denom_B.device)
        batch_size, sandwich = self.settings.batch_size, isinstance(estimator, Sandwich)
        many = max(1, batch_size // max(1, made.views))
        at_once = made.views if sandwich else batch_size
        for start in range(0, len(every_B), many):
            rows = every_B[start : start + many]
            canvas = self.rows.canvas.take(rows)
            for view in range(0, made.views, at_once):
                part = made[rows].view(slice(view, view + at_once))
                found = score(self.denoiser, canvas, part)
                if isinstance(estimator, Sandwich):
                    at, advantage_B = found.targets, self.advantage_C[rows]
                    yield rows, sandwiched(estimator, part, at, found.logprob_N, advantage_B)
                else:
                    yield rows, found.estimate_B(len(rows))


def signs(traces: Sequence[Trace], seed: int) -> list[float]:
    """1 or -1 for each completion."""
    return [1.0 - 2.0 * (key(seed, f"advantage {one.id}", one.sample)[0] & 1) for one in traces]


class Products(NamedTuple):
    """Inner products of D gradients of an estimator (1, where its plans are one) and D of ELBO."""

    own_DD: Floats
    cross_DD: Floats
    elbo_DD: Floats


def inner(one_DP: Tensor, other_DP: Tensor) -> Floats:
    """Inner products of each row of one with each of the other, summed in float64."""
    inner_DD = torch.zeros(len(one_DP), len(other_DP), dtype=torch.float64)
    for first in range(0, one_DP.shape[1], PIECE):
        piece = slice(first, first + PIECE)
        inner_DD += one_DP[:, piece].double() @ other_DP[:, piece].double().T
    return np.asarray(inner_DD.numpy())


# --- figures -----------------------------------------------------------------------------------


def _row(
    name: str,
    estimator: Estimator,
    found: Mapping[str, Values],
    elbo_R: Floats,
    products: Products | None,
    base_products: Products | None,
    drawing: Drawing,
    prompts: Sequence[str],
) -> Row:
    own, base, seed = found[name], found[BASELINE], drawing.settings.seed
    if own.fixed:
        zero = Estimate(0.0, 0.0, 0.0, len(prompts), len(set(prompts)))
        variance = cost = per_token = zero
    else:
        variance, cost, per_token = _spread(own, base, drawing.size_C, prompts, seed)
    value_R = own.value_RC.mean(1)
    noise = noise_cost = direction = None
    if products is not None and base_products is not None:
        passes = own.passes_C.mean() / base.passes_C.mean()
        noise, noise_cost = _noise(products, base_products, passes)
        direction = _direction(products)
    return Row(
        name=name,
        expects=expectation(estimator),
        fixed=own.fixed,
        passes=float(own.passes_C.mean()),
        value=_mean(value_R),
        bias=_mean(value_R - elbo_R, SURE),
        variance=variance,
        cost=cost,
        per_token=per_token,
        noise=noise,
        noise_cost=noise_cost,
        cosine=direction,
    )


def _mean(value_R: Floats, confidence: float = 0.95) -> Estimate:
    return jackknife(lambda some: float(value_R[some].mean()), len(value_R), confidence=confidence)


def _spread(
    own: Values, base: Values, size_C: Floats, prompts: Sequence[str], seed: int
) -> tuple[Estimate, Estimate, Estimate]:
    """Variance over plans, the same times passes relative to the baseline, and deviation a token."""
    variance_C, base_C = (one.value_RC.var(0, ddof=1) for one in (own, base))
    token_C = variance_C / size_C**2

    def relative(some: NDArray[np.intp]) -> float:
        mine = variance_C[some].mean() * own.passes_C[some].mean()
        theirs = base_C[some].mean() * base.passes_C[some].mean()
        return float(mine / theirs) if theirs > 0 else math.nan

    unknown = Estimate(math.nan, math.nan, math.nan, len(prompts), len(set(prompts)))
    return (
        clustered(variance_C.tolist(), prompts, seed),
        bootstrap(relative, prompts, seed) if base_C.any() else unknown,
        bootstrap(lambda some: math.sqrt(token_C[some].mean()), prompts, seed),
    )


def _noise(own: Products, base: Products, passes: float) -> tuple[Estimate, Estimate]:
    """Noise of the gradient, and times ``passes`` relative to the baseline, whose passes are 1."""
    draws = len(own.elbo_DD)
    if len(own.own_DD) == 1:
        nothing = Estimate(0.0, 0.0, 0.0, draws, draws)
        return nothing, nothing

    def relative(some: NDArray[np.intp]) -> float:
        theirs = noise_to_signal(base.own_DD, some)
        return float(passes * noise_to_signal(own.own_DD, some) / theirs) if theirs else math.nan

    return (
        jackknife(lambda some: noise_to_signal(own.own_DD, some), draws, log=True),
        jackknife(relative, draws, log=True),
    )


def _direction(products: Products) -> Estimate:
    return jackknife(lambda some: cosine(products, some), len(products.elbo_DD))


def noise_to_signal(inner_DD: Floats, some: NDArray[np.intp]) -> float:
    """E|g - E g|^2 / |E g|^2 from the inner products of some of the draws of g, both parts unbiased.

    NaN where |E g|^2 is not above 0.
    """
    own = float(inner_DD[some, some].mean())
    signal = _signal(inner_DD, some)
    return (own - signal) / signal if signal > 0 else math.nan


def cosine(products: Products, some: NDArray[np.intp]) -> float:
    """E g . E h / (|E g| |E h|) of the gradients g and ELBO's h, from some of the draws of both.

    The product and both squares are unbiased: those of different draws alone, and g and h share none. So the
    length of a mean of noisy draws does not pull the quotient to 0, and it may exceed 1. NaN where a square
    is not above 0.
    """
    own_DD, cross_DD, elbo_DD = products
    if len(own_DD) == 1:
        own, cross = float(own_DD[0, 0]), float(cross_DD[0, some].mean())
    else:
        own, cross = _signal(own_DD, some), float(cross_DD[np.ix_(some, some)].mean())
    elbo = _signal(elbo_DD, some)
    return cross / math.sqrt(own * elbo) if own > 0 and elbo > 0 else math.nan


def _signal(inner_DD: Floats, some: NDArray[np.intp]) -> float:
    """|E g|^2: the mean product of two different draws of g."""
    part, many = inner_DD[np.ix_(some, some)], len(some)
    return (float(part.sum()) - float(np.trace(part))) / (many * (many - 1))


def is_fixed(estimator: Estimator) -> bool:
    """Whether all plans of a completion are one."""
    match estimator:
        case Full():
            return estimator.prompt_noise == 0
        case Traced():
            return estimator.samples is None
        case _:
            return isinstance(estimator, LeftToRight)


def expectation(estimator: Estimator) -> str:
    """What an estimator's expectation is, in a few words; its docstring says it in full."""
    match estimator:
        case Full():
            return "independent guesses, all hidden"
        case Bernoulli():
            return f"ELBO but for times below {estimator.eps:g}"
        case Coupled("paper"):
            share = (2 * estimator.pairs + 1) / (estimator.pairs + 1)
            return f"no bound: about {share:.3g} times the scale"
        case Coupled("normalised"):
            return "between full and guesses in context"
        case Quad():
            return "ELBO up to its rule"
        case Sandwich():
            constants = ", with constants" if estimator.weighting == "paper" else ""
            return f"ELBO; between it and EUBO where A < 0{constants}"
        case LeftToRight():
            return "ln p left to right, exactly"
        case Traced():
            return "ln p along the recorded steps"
        case _:
            return "ELBO"


def _plain(value: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON values, one floor deep."""
    named = {field.name: getattr(value, field.name) for field in fields(value)}
    return {k: v.to_json() if isinstance(v, Estimate) else v for k, v in named.items()}
