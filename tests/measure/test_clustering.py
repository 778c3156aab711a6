"""Programs told apart by what they do, and what the telling is worth."""

from collections.abc import Sequence

import numpy as np
import pytest

from diffucode.execution.sandbox import Sandbox
from diffucode.measure.clustering import calibrate
from diffucode.measure.clustering.calibrate import AllSame, CanonicalTree, Known, Measured, fitted
from diffucode.measure.clustering.grow import grown, times
from diffucode.measure.clustering.linkage import average_linkage
from diffucode.measure.clustering.offline import RULES, Offline
from diffucode.measure.clustering.prints import FEATURES
from diffucode.measure.clustering.rule import SPELLING, Rule, fit
from diffucode.measure.clustering.table import table
from diffucode.measure.clustering.task import Task

SORTS = Task("sorts", "Sort nums.", "f", [([3, 1, 2, 9, 5],), ([8, 4, 6, 2, 0, 7],), ([],)])
INSERT = """
def f(nums):
    out = []
    for x in nums:
        i = len(out)
        while i > 0 and out[i - 1] > x:
            i -= 1
        out.insert(i, x)
    return out
"""
SWAPS = """
def f(values):
    a = list(values)
    for end in range(1, len(a)):
        k = end
        while k and a[k - 1] > a[k]:
            a[k - 1], a[k] = a[k], a[k - 1]
            k = k - 1
    return a
"""
MERGE = """
def f(nums):
    if len(nums) < 2:
        return nums
    a, b = f(nums[:len(nums) // 2]), f(nums[len(nums) // 2:])
    out = []
    while a and b:
        out.append(a.pop(0) if a[0] <= b[0] else b.pop(0))
    return out + a + b
"""
BUILT_IN = "def f(nums):\n    return sorted(nums)\n"


def test_equal_algorithms_share_a_label_and_others_do_not(sandbox: Sandbox) -> None:
    programs = [
        MERGE,
        INSERT,
        SWAPS,
        MERGE.replace("out", "merged"),
        BUILT_IN,
        "def f(:",
        "def g(): 0",
    ]
    one = Offline(sandbox)
    found = one.labels(SORTS, programs)
    assert found == [0, 1, 1, 0, 2, None, None]
    assert one.labels(SORTS, programs) == found
    assert Offline(sandbox).labels(SORTS, programs[1:3]) == [0, 0]
    assert Offline(sandbox).labels(SORTS, []) == []


def test_inputs_grow_and_stay_what_they_are() -> None:
    assert times([1, 5, 9], 2) == [1, 5, 9, 10, 14, 18]
    assert times([2, 2, 1], 2) == [2, 2, 1, 2, 2, 1]
    assert times("noon", 2) == "noonnoon" and times(3, 4) == 12 and times(True, 4) is True
    assert len(times([[1, 2], [3, 4]], 3)) == 6 == len(times([[1, 2], [3, 4]], 3)[0])
    assert times({"a": 1}, 2) == {"a": 1, "a1": 1} and times((1, 2), 2) == (1, 2, 3, 4)
    assert times({4, 5}, 2) == {4, 5, 6, 7} and times([], 8) == [] and times(None, 2) is None
    found = grown([([1, 2], 3), ([5], 4)])
    assert [one.arguments for one in found[:4]] == [
        ([1, 2], 3), ([1, 2, 3, 4], 6), ([*range(1, 9)], 12), ([*range(1, 17)], 24)
    ]  # fmt: skip
    assert {(one.part, one.factor) for one in found} == {
        *((part, factor) for part in ("all", "collections", "numbers") for factor in (2, 4, 8)),
        ("all", 1),
    }
    assert {len(one.arguments[0]) for one in found if one.part == "numbers"} == {1, 2}
    assert grown([]) == []


def test_average_linkage_joins_by_the_mean() -> None:
    at = np.array([0.0, 1.0, 2.2, 9.0])
    distance = np.abs(at[:, None] - at)
    assert average_linkage(distance, 1.0) == [0, 1, 2, 3]
    assert average_linkage(distance, 1.1) == [0, 0, 1, 2]
    assert average_linkage(distance, 1.75) == [0, 0, 0, 1]  # (2.2 + 1.2) / 2 = 1.7
    assert average_linkage(distance, 1.65) == [0, 0, 1, 2]
    assert average_linkage(np.zeros((0, 0)), 1.0) == []


def measured(rng: np.random.Generator, telling: int) -> Measured:
    """Six programs of two algorithms that one feature tells apart; all others are noise."""
    algorithms = ("a", "b") * 3
    apart = rng.random((6, 6, len(FEATURES)))
    apart = (apart + apart.transpose(1, 0, 2)) / 2
    other = np.array(algorithms)[:, None] != np.array(algorithms)
    apart[:, :, telling] = np.where(other, 0.9, 0.1)
    return Measured(apart, algorithms)


def test_a_fit_finds_the_feature_that_tells() -> None:
    rng = np.random.default_rng(0)
    rule, left_out = fitted([measured(rng, 1) for _ in range(6)], "idea")
    assert left_out == 1 and np.argmax(rule.weights) == 1 and min(rule.weights) >= 0
    used = dict(zip(FEATURES, rule.weights, strict=True))
    assert {used[name] for name in SPELLING} == {0}
    code = FEATURES.index("code")
    apart, same = measured(rng, code).pairs
    assert np.argmax(fit(apart, same, "form")) == code


def test_the_shipped_rules_have_a_weight_for_each_feature() -> None:
    assert {grain: len(rule.weights) for grain, rule in RULES.items()} == {"idea": 9, "form": 9}
    used = dict(zip(FEATURES, RULES["idea"].weights, strict=True))
    assert {used[name] for name in SPELLING} == {0}


class Fixed:
    """A clusterer that says what it was told."""

    name = "fixed"

    def __init__(self, *answers: list[int | None]) -> None:
        self.answers = iter(answers)

    def labels(self, task: Task, programs: Sequence[str]) -> list[int | None]:
        return next(self.answers)


def test_figures_by_hand() -> None:
    known = [
        Known(
            Task(name, "", "f", []),
            tuple(f"def f(): return {n}" for n in range(4)),
            ("a", "a", "b", "b"),
            name,
        )
        for name in ("p", "q")
    ]
    found = calibrate.measure(Fixed([0, 0, 1, 1], [0, 0, 0, None]), known)
    assert (found.pairs, found.abstained) == (12, 1 / 8)
    assert found.precision.value == pytest.approx(3 / 5) and found.recall.value == 3 / 4
    assert found.f1.value == pytest.approx(2 / 3)
    # In q three labels: one cluster, of algorithms of sizes 2 and 1.
    assert found.effective.value == pytest.approx((1.8898815748 - 1) / 2)
    assert found.distinct.n == 0 and "| – |" in table([found])
    assert calibrate.measure(AllSame(), known).recall.value == 1
    tree = calibrate.measure(CanonicalTree(), known)
    assert tree.recall.value == 0 and tree.effective.value == 2


def test_minicode_is_labelled_by_its_generator() -> None:
    known = calibrate.generated("dev", 0, 60)
    assert known == calibrate.generated("dev", 0, 60)
    assert sum(len(one.programs) * (len(one.programs) - 1) // 2 for one in known) >= 60
    for one in known:
        assert len(set(one.algorithms)) >= 2 and len(one.task.inputs) == 24
        assert len(one.programs) == 4 * len(set(one.algorithms))


def test_offline_is_far_better_than_its_baselines_on_problems_for_tuning(sandbox: Sandbox) -> None:
    few = [
        one
        for one in calibrate.handwritten("tuning")
        if one.task.id in ("majority", "merge_sorted")
    ]
    same = calibrate.measure(AllSame(), few).f1.value
    tree = calibrate.measure(CanonicalTree(), few)
    offline = calibrate.measure(Offline(sandbox), few).f1.value
    assert np.isnan(tree.precision.value) and tree.recall.value == 0
    assert offline > same + 0.3


def test_a_rule_is_a_weighted_sum() -> None:
    one = Rule(tuple(float(n == 2) for n in range(len(FEATURES))), 0.5)
    apart = np.arange(2.0 * len(FEATURES)).reshape(2, -1)
    assert one.distance(apart).tolist() == [2.0, 2.0 + len(FEATURES)]
