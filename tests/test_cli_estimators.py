"""``diffucode estimators``: a table, JSON, a picture, one line for each mistake."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffucode.cli import run
from diffucode.cli.estimators import number
from diffucode.metrics.passk import Estimate
from diffucode.models.families.spec import Usual
from diffucode.models.load import Loaded, save
from diffucode.models.toy import tiny_tokenizer, tiny_transformer
from diffucode.rl.compare import ESTIMATORS

Tell = Callable[..., tuple[int, str, str]]

QUICK = ("--draws", "3", "--gradient-draws", "3")


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths lead into a folder with two models and a file of prompts."""
    monkeypatch.chdir(tmp_path)
    tokenizer = tiny_tokenizer()
    usual = Usual(canvas=5, steps=5)
    for name, causal in (("tiny", False), ("tiny-ar", True)):
        denoiser = tiny_transformer(len(tokenizer), 1, 16, causal=causal)
        decoder: Any = "ar" if causal else "diffusion"
        save(Loaded(name, denoiser, tokenizer, "native", decoder, 0, usual), tmp_path / name)
    lines = [{"id": id, "prompt": f"def {id}(x):\n"} for id in ("one", "two", "three")]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Exit code, stdout and stderr of a command line."""

    def tell(*arguments: str) -> tuple[int, str, str]:
        code = run(("estimators", *arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return tell


def test_json_is_one_line_and_the_seed_decides(tell: Tell) -> None:
    arguments = ("--model", "tiny", "--prompts", "prompts.jsonl", *QUICK, "--json")
    code, out, err = tell(*arguments)
    assert (code, err, out.count("\n")) == (0, "", 1)
    found = json.loads(out)
    assert [row["name"] for row in found["rows"]] == list(ESTIMATORS)
    assert (found["model"], found["completions"], found["prompts"]) == ("tiny", 3, 3)
    assert found["settings"]["draws"] == found["settings"]["gradient_draws"] == 3
    assert tell(*arguments)[1] == out != tell(*arguments, "--seed", "1")[1]


def test_the_table_has_a_row_for_each_and_says_what_it_rests_on(tell: Tell) -> None:
    arguments = ("--model", "tiny", "--prompts", "prompts.jsonl", *QUICK)
    code, out, err = tell(*arguments)
    assert (code, err) == (0, "")
    said, _, table = out.partition("\n\n")
    for words in ("`tiny`: 3 completions of 3 prompts", "3 plans", "seed 0", "24 passes"):
        assert words in said
    head, ruler, *rows = table.splitlines()
    assert set(ruler) == {"|", "-"} and len(rows) == len(ESTIMATORS)
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in [head, *rows]]
    assert len({len(row) for row in cells}) == 1
    assert [row[0] for row in cells[1:]] == list(ESTIMATORS)
    count = cells[3]
    assert (count[1], count[5], count[8]) == ("1", "1.00", "1.00")
    assert {"gradient noise", "noise x passes", "cosine with ELBO's"} <= set(cells[0])
    full = cells[1]
    assert (full[0], full[7], full[8]) == ("full", "0", "0") and full[9] not in ("0", "")
    without = tell(*arguments[:-1], "0")[1]
    assert not any(word in without for word in ("gradient noise", "noise x", "cosine"))


@pytest.mark.parametrize("gradient_draws", ["3", "0"])
def test_a_plot_is_a_picture(tell: Tell, gradient_draws: str, tmp_path: Path) -> None:
    arguments = ("--model", "tiny", "--prompts", "prompts.jsonl", "--draws", "3")
    code, _, err = tell(*arguments, "--gradient-draws", gradient_draws, "--plot", "costs.png")
    assert (code, err) == (0, "")
    data = (tmp_path / "costs.png").read_bytes()
    assert data.startswith(b"\x89PNG") and 5_000 < len(data) < 150_000
    width = int.from_bytes(data[16:20])
    assert (width > 1500) == (gradient_draws == "3"), "three panels, or one"


def test_minicode_problems_without_prompts(tell: Tell) -> None:
    # its prompts are written with bytes here, and its docstrings are far from the tiny model's limit
    code, out, err = tell("--model", "tiny", "-n", "2", "--draws", "2", "--gradient-draws", "0")
    assert (code, err) == (0, "")
    assert "2 completions of 2 prompts" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompts", "nowhere.jsonl"], "nowhere.jsonl: cannot read"),
        (["--prompts", "prompts.jsonl", "-n", "3"], "expected one source of prompts"),
        (["--model", "nope"], "no model 'nope'"),
        (["--model", "tiny-ar", "--prompts", "prompts.jsonl"], "tiny-ar is autoregressive"),
        (["-n", "0"], "'--problems'"),
        (["--draws", "1"], "'--draws'"),
        (["--draws", "few"], "'--draws'"),
        (["--gradient-draws", "2"], "gradient_draws 2: expected at least 3, or 0"),
        (["--plot", "costs.svg"], "expected a .png file"),
        (["--plot", "no/costs.png"], "in a folder that exists"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_code_2(tell: Tell, arguments: list[str], message: str) -> None:
    code, out, err = tell(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("diffucode: ") and err.count("\n") == 1, err
    assert message in err


def test_a_prompt_over_the_limit_is_refused(tell: Tell, tmp_path: Path) -> None:
    line = {"id": "long", "prompt": "x" * 5000}
    (tmp_path / "long.jsonl").write_text(json.dumps(line) + "\n")
    code, out, err = tell("--model", "tiny", "--prompts", "long.jsonl")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "prompt 'long'" in err and "over the model's limit" in err


@pytest.mark.parametrize(
    ("estimate", "shown"),
    [
        (Estimate(-121.07, -131.2, -9.988, 4, 4), "-121 [-131, -9.99]"),
        (Estimate(0.01234, 0.001, 12345.0, 4, 4), "0.0123 [0.00100, 12345]"),
        (Estimate(1.0, 1.0, 1.0, 4, 4), "1.00"),
        (Estimate(2.5, float("nan"), float("nan"), 4, 4), "2.50"),
        (Estimate(float("nan"), 0.0, 1.0, 4, 4), "-"),
        (None, "-"),
    ],
)
def test_figures_have_three_digits(estimate: Estimate | None, shown: str) -> None:
    assert number(estimate) == shown
