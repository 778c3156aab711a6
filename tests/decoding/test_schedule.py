"""Schedules: exact quotas, the published grid's quirks, thresholds and entropy bounds."""

import math

import pytest
import torch

from diffucode.decoding.schedule import (
    Candidates,
    CosineQuota,
    DreamGrid,
    DreamOrigin,
    EntropyBound,
    Pace,
    Quota,
    Threshold,
    reveal_share,
)
from diffucode.errors import PlanError


@pytest.mark.parametrize("schedule", [Quota(), CosineQuota()])
@pytest.mark.parametrize("total", [1, 2, 7, 64, 255])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 63, 64, 255])
def test_counts_cover_every_position_exactly(
    schedule: Quota | CosineQuota, total: int, steps: int
) -> None:
    steps = min(steps, total)
    counts = [schedule.count(Pace(i, total, steps, 0.0)) for i in range(steps)]
    assert sum(counts) == total and min(counts) >= 0
    if isinstance(schedule, Quota):
        assert max(counts) - min(counts) <= 1 and counts == sorted(counts, reverse=True)


def test_cosine_opens_slowly_at_first() -> None:
    counts = [CosineQuota().count(Pace(i, 100, 10, 0.0)) for i in range(10)]
    left = [100 - sum(counts[: i + 1]) for i in range(10)]
    assert left == [math.ceil(100 * math.cos(math.pi / 2 * (i + 1) / 10) - 1e-9) for i in range(10)]
    assert counts[0] < counts[5] <= counts[9]


def published(total: int, steps: int) -> list[int]:
    counts, left = [], total
    for step in range(steps):
        count = DreamGrid(steps).count(Pace(step, total, steps, float(left)))
        counts.append(count)
        left -= count
    assert left == 0
    return counts


def test_the_published_grid_and_its_quirks() -> None:
    """Counts of the published loop, run in float32."""
    for total in (128, 256, 512, 768):
        assert published(total, total) == [0] + [1] * (total - 2) + [2]
    counts = published(1024, 1024)
    assert counts.count(0) == 2 and counts[-1] == 3
    assert published(256, 128) == [1] + [2] * 126 + [3]
    assert published(256, 64) == [3] + [4] * 62 + [5]
    assert published(512, 256) == [1] + [2] * 254 + [3]
    counts = published(256, 100)
    assert (counts.count(2), counts.count(3), counts[-1]) == (45, 54, 4)
    assert published(256, 512).count(0) == 257


def test_reveal_probability_of_origin() -> None:
    steps, eps = 8, 1e-3
    delta = (1 - eps) / steps
    exact = [delta / (1 - i * delta) for i in range(steps)]
    assert reveal_share(steps, eps) == pytest.approx(exact, abs=1e-6)
    at = DreamOrigin(steps, eps).probability(torch.arange(10))
    assert at[:7].tolist() == pytest.approx(exact[:7], abs=1e-6)
    assert at[7:].tolist() == [1, 1, 1]


def candidates(**fields: list[float]) -> Candidates:
    some = torch.tensor([next(iter(fields.values()))])
    values = {name: torch.tensor([value]) for name, value in fields.items()}
    return Candidates(
        eligible_RL=values.get("eligible", torch.ones_like(some)).bool(),
        rank_RL=values.get("rank", torch.zeros_like(some)).long(),
        probability_RL=values.get("probability", some),
        entropy_RL=values.get("entropy", some),
        uniform_RL=values.get("uniform", some),
        step_R=torch.tensor([0]),
    )


def test_entropy_bound_worked_example() -> None:
    """Entropies [.05, .2, .4, .9, 1.5], bound .5 accepts the first three."""
    entropy = [0.05, 0.2, 0.4, 0.9, 1.5]
    assert EntropyBound(0.5).accept(candidates(entropy=entropy)).tolist() == [
        [True] * 3 + [False] * 2
    ]
    shuffled = [entropy[i] for i in (3, 0, 4, 2, 1)]
    assert EntropyBound(0.5).accept(candidates(entropy=shuffled)).tolist() == [
        [False, True, False, True, True]
    ]
    assert EntropyBound(0.0).accept(candidates(entropy=[0.3, 0.2])).tolist() == [[False, True]]
    free = candidates(entropy=[0.0, 0.8, 0.0, 0.7])  # what is certain, and one more
    assert EntropyBound(0.0).accept(free).tolist() == [[True, False, True, True]]


def test_entropy_bound_looks_at_eligible_positions_only() -> None:
    at = candidates(entropy=[0.0, 5.0, 6.0], eligible=[0.0, 1.0, 1.0])
    assert EntropyBound(1.0).accept(at).tolist() == [[False, True, False]]


def test_threshold_commits_at_least_the_first() -> None:
    at = candidates(probability=[0.95, 0.2, 0.9, 0.3], rank=[0, 3, 1, 2])
    assert Threshold(0.9).accept(at).tolist() == [[True, False, True, False]]
    at = candidates(probability=[0.1, 0.2], rank=[1, 0])
    assert Threshold(0.9).accept(at).tolist() == [[False, True]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Quota(0),
        lambda: CosineQuota(-1),
        lambda: DreamGrid(0),
        lambda: DreamOrigin(4, eps=0.0),
        lambda: Threshold(0.0),
        lambda: Threshold(1.5),
        lambda: EntropyBound(-0.1),
        lambda: EntropyBound(math.nan),
    ],
)
def test_bad_schedules_are_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PlanError, match="expected"):
        make()
