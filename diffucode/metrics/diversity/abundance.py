"""How many algorithms there are, from how many programs each has: the estimators of ecology.

    da_at_k             algorithms in K of the correct programs (Lee et al. 2025; ecology's rarefaction)
    eda_at_k            algorithms in K of all samples, of which only correct ones count
    hill                effective numbers: of order 0 all algorithms, 1 ``EA``, 2 those that are frequent
    effective_at_k      the effective number of order 1 in K of the correct programs
    nauadc              the mean of DA@K over K, from its curve
    chao1, coverage     how many algorithms there are in all; the share of draws that would show a known one

``sizes`` are the programs in each cluster of one task, N in all; DA, EA and NAUADC follow Lee et al.
(arXiv:2503.00691) as its replicas compute them, Chao1 is Chao (1984), coverage is Good (1953) and Turing.
Everything here is exact: integers until the last division.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from diffucode.metrics.diversity.undefined import Figure, Undefined

PAPER_K = 25
"""Where the paper's NAUADC ends."""
NOTHING = Undefined("no correct program")


def sizes_of(labels: Iterable[Hashable | None]) -> tuple[int, ...]:
    """How many programs each label has, the most frequent first. Programs without a label are in none."""
    return tuple(n for _, n in Counter(one for one in labels if one is not None).most_common())


def da_at_k(sizes: Sequence[int], k: int) -> Figure:
    """Different algorithms expected in ``k`` programs drawn without replacement.

    ``sum over clusters of 1 - C(N - s, k) / C(N, k)``: unbiased for k new programs of the same model.
    Undefined for k over N, which N programs cannot tell, and without programs.
    """
    n = _total(sizes, k)
    if not n:
        return NOTHING
    if k > n:
        return Undefined(f"fewer than {k} correct programs")
    return _expected(sizes, n, k)


def eda_at_k(sizes: Sequence[int], pool: int, k: int) -> Figure:
    """Different correct algorithms expected in ``k`` of ``pool`` samples, right and wrong ones.

    A task without a correct sample counts 0: it is the only figure here that a task cannot leave. With one
    cluster it is pass@k; to be wrong in many ways does not raise it. Undefined for k over ``pool``.
    Raises ValueError where the clusters hold more than the pool.
    """
    if (n := _total(sizes, k)) > pool:
        raise ValueError(f"{n} correct programs of {pool} samples: expected no more than samples")
    if k > pool:
        return Undefined(f"fewer than {k} samples")
    return _expected(sizes, pool, k)


def hill(sizes: Sequence[int], q: float) -> Figure:
    """Hill's number of order ``q >= 0`` (Hill 1973): ``(sum p^q)^(1 / (1 - q))``.

    The number of equally frequent algorithms that are as diverse. 0: all of them; 1: exp of the entropy
    in nats, the paper's EA; inf: 1 / the largest share. Grows with N, but for q of 2 and more hardly.
    """
    n = _total(sizes, 1)
    if not q >= 0:
        raise ValueError(f"order {q}: expected a number >= 0")
    if not n:
        return NOTHING
    shares = [size / n for size in sizes]
    if q == 1:
        return math.exp(-math.fsum(p * math.log(p) for p in shares))
    if math.isinf(q):
        return 1 / max(shares)
    return float(math.fsum(p**q for p in shares) ** (1 / (1 - q)))


def effective_at_k(sizes: Sequence[int], k: int) -> Figure:
    """EA of ``k`` programs drawn without replacement: exp of their expected entropy.

    EA of all N grows with N; this one compares models that solve a task unequally often. It is EA at k = N
    and 1 at k = 1. Undefined as ``da_at_k`` is.
    """
    n = _total(sizes, k)
    if not n:
        return NOTHING
    if k > n:
        return Undefined(f"fewer than {k} correct programs")
    draws = math.comb(n, k)
    entropy = math.fsum(
        math.comb(size, x) * math.comb(n - size, k - x) / draws * (x / k) * math.log(k / x)
        for size in sizes
        for x in range(1, min(size, k) + 1)
    )
    return math.exp(entropy)


def nauadc(sizes: Sequence[int], k_max: int = PAPER_K) -> Figure:
    """The mean of DA@K over K from 1 to ``k_max`` by the trapezoid rule; 1 is one algorithm.

    As the paper has it, DA@K stays at the number of algorithms for K over N: with N under ``k_max`` it is
    too low, and of models with unequal N not comparable. Undefined for ``k_max`` under 2.
    """
    n = _total(sizes, 1)
    if not n:
        return NOTHING
    if k_max < 2:
        return Undefined("a curve needs two points")
    curve = [_expected(sizes, n, min(k, n)) for k in range(1, k_max + 1)]
    return (math.fsum(curve) - (curve[0] + curve[-1]) / 2) / (k_max - 1)


def chao1(sizes: Sequence[int]) -> Figure:
    """A lower bound of how many algorithms the model knows for the task, seen and unseen.

    ``S + (N-1)/N * f1^2 / (2 f2)`` of f1 clusters of one program and f2 of two; without one of two the
    bias-corrected ``S + (N-1)/N * f1 (f1 - 1) / 2``.
    """
    n = _total(sizes, 1)
    if not n:
        return NOTHING
    ones, twos = sizes.count(1), sizes.count(2)
    unseen = ones * ones / (2 * twos) if twos else ones * (ones - 1) / 2
    return len(sizes) + (n - 1) / n * unseen


def coverage(sizes: Sequence[int]) -> Figure:
    """The share of further correct programs that would be of a cluster seen: ``1 - f1 / N``."""
    n = _total(sizes, 1)
    return 1 - sizes.count(1) / n if n else NOTHING


def _expected(sizes: Sequence[int], n: int, k: int) -> float:
    draws = math.comb(n, k)
    return math.fsum(1 - math.comb(n - size, k) / draws for size in sizes)


def _total(sizes: Sequence[int], k: int) -> int:
    if k < 1 or any(size < 1 for size in sizes):
        raise ValueError(f"clusters of {list(sizes)} programs, K = {k}: expected all to be >= 1")
    return sum(sizes)
