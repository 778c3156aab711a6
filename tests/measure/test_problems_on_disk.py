"""Problems and their tests on disk: the same as made, made once, made again by another generator."""

from dataclasses import replace
from pathlib import Path

import pytest
from twice import twice

from diffucode.errors import TaskError
from diffucode.measure import problems
from diffucode.measure.problems import (
    FEW,
    Known,
    Problems,
    from_bytes,
    generator_digest,
    ids,
    to_bytes,
)
from diffucode.tasks import minicode
from diffucode.tasks.problem import Case


def test_a_problem_comes_back_as_it_was() -> None:
    some = twice()
    odd = Case(({"a": (1, 2.5)}, [[1], []], "ß"), {3, 4})
    some = some._replace(tests=replace(some.tests, base=(odd,)))
    assert from_bytes(to_bytes(some)) == some


def test_problems_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    told: list[tuple[str, int, int]] = []

    def make(id: str) -> Known:
        made.append(id)
        return twice(id)

    monkeypatch.setattr(problems, "made", make)
    asked = ids("test", 1, 3)
    Problems(tmp_path, lambda *now: told.append(now)).get(asked[:2])
    assert told == [("problems", 1, 2), ("problems", 2, 2)]
    again = Problems(tmp_path)
    assert again.get([*asked, asked[0]]) == [twice(id) for id in [*asked, asked[0]]]
    assert made == asked
    (broken,) = (file for file in again.folder.iterdir() if file.read_bytes() == to_bytes(twice()))
    broken.write_bytes(broken.read_bytes()[:-3])
    Problems(tmp_path).get(asked)
    assert made == [*asked, asked[0]]


def test_another_generator_makes_other_problems(tmp_path: Path) -> None:
    def digest(**files: str) -> str:
        for name, source in files.items():
            (tmp_path / f"{name}.py").write_text(source)
        return generator_digest(tmp_path)

    first = digest(draws="RATE = 0.2\n", detect="A = 1\n")
    assert digest(draws='"""Said anew."""\nRATE  = 0.2  # of all\n') == first
    assert digest(detect="A = 2\n") == first
    assert digest(draws="RATE = 0.3\n") != first
    assert digest(draws="RATE = 0.2\n", more="B = 1\n") != first


def test_ids_and_problems_are_minicodes(tmp_path: Path) -> None:
    (id,) = ids("test", 5, 1)
    assert Problems(tmp_path).get([id]) == [
        Known(*minicode.problems("test", 5, 1), minicode.tests(id))
    ]
    with pytest.raises(TaskError, match="no split 'tset'"):
        Problems(tmp_path).get(ids("tset", 5, 1))
    assert FEW >= 1  # so that none of these needs a process of its own
