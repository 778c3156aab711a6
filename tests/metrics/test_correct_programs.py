"""Correct programs: only verdicts make one."""

import pytest

from diffucode.metrics.diversity.correct import CorrectPrograms, Judged


def test_only_what_passed_is_correct() -> None:
    samples = [Judged("a", True), Judged("b", False), Judged("c", None), Judged("a", True)]
    found = CorrectPrograms("t", samples)
    assert found.programs == ("a", "a")
    assert (found.pool, found.unjudged) == (3, 1)
    with pytest.raises(AttributeError):
        found.programs = ("b",)  # type: ignore[misc]
