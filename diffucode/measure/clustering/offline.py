"""The clusterer that asks nobody: it runs the programs and counts what they do.

    programs ── equal up to names: one ──> profiles on growing inputs ──> prints
             ──> distances, by a rule ──> average linkage

A program that does not parse, or returns on none of the grown inputs, gets no label.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffucode.execution.counting import profiles
from diffucode.execution.outputs import Asked
from diffucode.execution.sandbox import Sandbox
from diffucode.measure.clustering.grow import Grown, grown
from diffucode.measure.clustering.linkage import average_linkage
from diffucode.measure.clustering.prints import FEATURES, Print, apart, print_of
from diffucode.measure.clustering.rule import Grain, Rule
from diffucode.measure.clustering.task import Task, numbered
from diffucode.tasks.syntax import canonical

VERSION = 1
RULES: dict[Grain, Rule] = {
    "idea": Rule((0.448, 0.577, 0.309, 0.388, 0.164, 0.0, 0.911, 0.0, 0.0), cut=0.8),
    "form": Rule((0.073, 0.023, 0.096, 0.179, 0.234, 0.316, 0.722, 1.138, 1.477), cut=0.4),
}
"""In the order of ``FEATURES``, as ``scripts/calibrate_clusters fit --pairs 1500`` printed them."""


class Offline:
    """Clusters by what programs do; deterministic. ``grain`` says what counts as another algorithm."""

    def __init__(self, sandbox: Sandbox, grain: Grain = "idea", rule: Rule | None = None) -> None:
        self._sandbox = sandbox
        self._rule = rule or RULES[grain]
        self.name = f"offline v{VERSION}, {grain}"

    def labels(self, task: Task, programs: Sequence[str]) -> list[int | None]:
        """Raises SandboxError where the sandbox could not do its work."""
        texts = [canonical(program) for program in programs]
        known = [text for text in dict.fromkeys(texts) if text is not None]
        inputs = grown(task.inputs)
        first = {
            text: program for text, program in reversed(list(zip(texts, programs, strict=True)))
        }
        found = prints(self._sandbox, task, [first[text] for text in known], inputs)
        printed = {text: one for text, one in zip(known, found, strict=True) if one is not None}
        clusters = average_linkage(
            distances([*printed.values()], inputs, self._rule), self._rule.cut
        )
        label = dict(zip(printed, clusters, strict=True))
        return numbered([None if text is None else label.get(text) for text in texts])


def prints(
    sandbox: Sandbox, task: Task, programs: Sequence[str], inputs: Sequence[Grown]
) -> list[Print | None]:
    """The print of each program on these inputs."""
    given = [one.arguments for one in inputs]
    ran = profiles(sandbox, [Asked(program, task.entry_point, given) for program in programs])
    return [print_of(program, calls) for program, calls in zip(programs, ran, strict=True)]


def features(prints: Sequence[Print], inputs: Sequence[Grown]) -> NDArray[np.float64]:
    """``[N, N, F]``; programs that never both returned are wholly unlike."""
    found = np.zeros((len(prints), len(prints), len(FEATURES)))
    for a, one in enumerate(prints):
        for b in range(a):
            between = apart(one, prints[b], inputs)
            found[a, b] = found[b, a] = np.ones(len(FEATURES)) if between is None else between
    return found


def distances(prints: Sequence[Print], inputs: Sequence[Grown], rule: Rule) -> NDArray[np.float64]:
    """``[N, N]``, by a rule."""
    return rule.distance(features(prints, inputs))
