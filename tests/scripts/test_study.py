"""The command of studies: its jobs, a report into a document, and what it refuses."""

from pathlib import Path

import pytest
from running import ROOT, as_module

from diffucode import config
from diffucode.measure.card import BEGIN, END
from diffucode.studies.plan import Job, Study
from diffucode.studies.rows import COLUMNS, Measured, Row

study = as_module("scripts/study")


def finished(folder: Path, arm: str, seed: int, right: int) -> Row:
    columns = {name: [1, 1] for name in COLUMNS} | {"id": ["a", "b"], "signature": ["s", "t"]}
    columns["plus"] = [right, right]
    row = Row(arm, seed, None, None, 600.0, measured=[Measured("usual", "test", 0.0, columns)])
    plan = config.load(Study, ROOT / "configs/studies/coupled_grpo.yaml")
    row.write(folder / "jobs" / Job(plan.arm(arm), seed).name)
    return row


def test_the_plan_says_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(tmp_path, "coupled", 10, 1)
    command = ["plan", "--stage", "test", "--only", "coupled", "full", "--seeds", "10", "11"]
    study.main([*command, "--folder", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=2)[1:] for line in lines[:-1]] == [
        ["coupled-10", "finished"],
        ["full-10", "about 40 min"],
        ["coupled-11", "about 10 min"],  # as the one that is finished
        ["full-11", "about 40 min"],
    ]
    assert lines[-1] == "left: about 1.5 hours, one job at a time"


def test_a_report_goes_between_the_marks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (10, 11):
        finished(tmp_path, "coupled", seed, 1)
        finished(tmp_path, "full", seed, 0)
    doc = tmp_path / "doc.md"
    doc.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    study.main(["report", "--folder", str(tmp_path), "--doc", str(doc)])
    text = doc.read_text()
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"{END}\nafter\n")
    assert "old" not in text and "`coupled` minus `full`" in text
    assert "![What the arms gained, and on the way](doc.png)" in text
    assert (tmp_path / "doc.png").exists()
    assert "`coupled` minus `full`" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["plan", "--only", "coupld"], "--only coupld: expected one of base,"),
        (["plan", "--plan", "none.yaml"], "none.yaml: cannot read the config file"),
        (["run", "--jobs", "0"], "--jobs 0: expected at least 1"),
        (["report", "--doc", "none.md"], "none.md"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    command: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        study.main([*command, "--folder", str(tmp_path)])
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert message in printed and "Traceback" not in printed


def test_the_document_has_its_marks() -> None:
    text = (ROOT / "docs/coupled_grpo.md").read_text()
    assert text.count(BEGIN) == text.count(END) == 1
