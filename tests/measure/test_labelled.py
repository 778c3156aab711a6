"""The programs that clusterers are calibrated on."""

from pathlib import Path

import pytest

from diffucode.errors import TaskError
from diffucode.execution.checks import Submission, check
from diffucode.execution.sandbox import Sandbox
from diffucode.measure.clustering.labelled import FOLDER, Half, labelled
from diffucode.tasks.syntax import canonical

HALVES: tuple[Half, Half] = ("tuning", "test")


def test_the_halves_share_no_problem() -> None:
    tuning, test = ({one.name for one in labelled(half)} for half in HALVES)
    assert len(tuning) == len(test) == 12
    assert not tuning & test


@pytest.mark.parametrize("half", HALVES)
def test_every_program_is_right_and_spelled_once(half: Half, sandbox: Sandbox) -> None:
    problems = labelled(half)
    asked = [
        Submission(program, one.name, one.cases) for one in problems for program in one.programs
    ]
    reports = check(sandbox, asked)
    wrong = [one.program for one, report in zip(asked, reports, strict=True) if not report.passed]
    assert not wrong, "\n".join(wrong)
    for one in problems:
        assert len(one.programs) == 12 == len(set(map(canonical, one.programs))), one.name
        assert sorted(map(one.algorithms.count, set(one.algorithms))) == [4, 4, 4]


def test_a_file_that_is_not_as_described_is_refused(tmp_path: Path) -> None:
    text = (FOLDER / "tuning" / "gcd.md").read_text()
    broken = {
        "expected '# gcd'": text.replace("# gcd", "# lcm"),
        "expected 4 programs, got 3": text.replace("```python", "```text", 1),
        "expected 3 algorithms, got 4": text
        + "\n## again"
        + text.split("## subtraction")[1].split("##")[0],
        "(12, 18) -> six": text.replace("(12, 18) -> 6", "(12, 18) -> six"),
    }
    (tmp_path / "tuning").mkdir()
    for message, content in broken.items():
        (tmp_path / "tuning" / "gcd.md").write_text(content)
        with pytest.raises(TaskError) as caught:
            labelled("tuning", tmp_path)
        assert message in str(caught.value)
    with pytest.raises(TaskError, match="found none"):
        labelled("test", tmp_path)
