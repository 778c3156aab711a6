"""``diffucode arness``: tables, JSON, pictures, mistakes."""

import json
from pathlib import Path

import numpy as np
import pytest

from diffucode.cli import run
from diffucode.decoding.trace import Trace, blank
from diffucode.generate.traces import TraceFile


def recorded(*orders: tuple[str, list[int]], model: str = "toy", ends: bool = True) -> str:
    """Prompts with the step of each position behind them; the last token of each ends the answer."""
    traces: list[Trace] = []
    for sample, (id, steps) in enumerate(orders):
        trace = blank(id, sample, 0, 3, 3 + len(steps), 0)
        trace.given[:3] = True
        trace.token[:3] = [5, 6, 7]
        trace.step[3:], trace.rank[3:] = steps, 0
        trace.token[3:-1], trace.token[-1] = 5, 9
        trace.raw_logprob[3:] = -np.arange(len(steps))
        traces.append(trace)
    pieces = {0: "", 5: "x", 6: "y", 7: "\n", 9: "<|end|>"}
    return TraceFile(model, pieces, tuple(traces), (9,) if ends else ()).dumps()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    forward, backward = [0, 1, 2, 3], [3, 2, 1, 0]
    Path("left.json").write_text(recorded(("a", forward), ("b", forward), ("a", forward)))
    Path("both.json").write_text(recorded(("a", forward), ("a", backward), ends=False))
    return ["left.json", "both.json"]


def test_the_table(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["arness", *files]) == 0
    out = capsys.readouterr().out
    left, both = out.split("both.json (`toy`)")
    assert "left.json (`toy`): 3 samples of 2 prompts, 12 positions of answers" in left
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in left.splitlines()]
    table = {row[0]: row[1:] for row in cells if row}
    assert table["local @1"][:3] == ["1.000 [1.000, 1.000]"] * 2 + ["0.250"]
    assert table["global @2"][0] == "1.000 [1.000, 1.000]"
    assert table["tied neighbours, %"][0] == "0.0 [0.0, 0.0]"
    assert "The file names no terminators" in both and "names no terminators" not in left
    [agreement] = [line for line in both.splitlines() if line.startswith("| both.json")]
    assert [cell.strip() for cell in agreement.split("|")[2:4]] == ["-1.000", "-"]


def test_json_and_pictures(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["arness", *files, "--json", "--plot", "new/plots"]) == 0
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["name"] for row in rows] == files
    assert len(rows[0]["answer"]["arness"]) == 9 + 9 + 4
    assert np.array(rows[0]["canvas"]["heat"]) == pytest.approx(np.eye(4))
    assert rows[0]["agreement"]["tau"]["between"]["value"] == 1
    pictures = sorted(path.name for path in Path("new/plots").iterdir())
    assert pictures == ["arness.png", "heat_maps.png"]
    assert all(Path("new/plots", name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert err.count("new/plots") == 2


def test_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mini.json").write_text(recorded(("a", [0] * 5), ("b", [0] * 4), model="mini"))
    assert run(["arness", "mini.json", "--first-step", "--json", "--plot", "plots"]) == 0
    [row] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(row["first_step"]["confidence"]) == len(row["first_step"]["entropy"]) == 4
    assert all(0 < share <= 1 for share in row["first_step"]["confidence"])
    assert Path("plots/first_step.png").exists()
    Path("ar.json").write_text(recorded(("a", [0] * 5), model="mini-ar"))
    assert run(["arness", "ar.json", "--first-step"]) == 2
    assert "mini-ar is autoregressive" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.json"], "none.json: cannot read the file"),
        (["left.json", "--plot", "both.json"], "--plot both.json: expected a folder"),
        (["text.json"], "text.json: not JSON"),
    ],
)
def test_mistakes_are_one_line(
    files: list[str], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.json").write_text("{")
    assert run(["arness", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
