"""Infilling: rows and cuts, what each kind of model is shown, lengths that are searched, scores."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from scripted import END, TOKENIZER, Scripted, ids
from twice import HEAD, twice

from diffucode.cli import run
from diffucode.cli.infilling import tasks as tasks_of
from diffucode.errors import TaskError
from diffucode.execution.checks import Report
from diffucode.execution.sandbox import Sandbox
from diffucode.generate.settings import GenerateConfig
from diffucode.measure import infilling as module
from diffucode.measure.infill_tasks import Gapped, chosen, cut, is_line, read
from diffucode.measure.infilling import Filled, fill, fitting, score, sound
from diffucode.measure.problems import Known
from diffucode.models.families.spec import Usual
from diffucode.models.head import read_out
from diffucode.tasks import problem as tasks
from diffucode.tasks.problem import Case, Problem, Reference

LINES = ["    a = x\n", "    a += 1\n", "    b = a\n", "    b += 1\n", "    return b\n"]
PROGRAM = "def up(x):\n" + "".join(LINES)
TESTS = (Case((1,), 3), Case((5,), 7))
QUICK = GenerateConfig(max_new_tokens=60)


def row(holes: Sequence[int] = (0, 2)) -> Gapped:
    """``PROGRAM`` without these lines."""
    given, start = ["def up(x):\n"], 0
    for at in holes:
        given[-1] += "".join(LINES[start:at])
        given.append("")
        start = at + 1
    given[-1] = "".join(LINES[start:])
    return Gapped("up", "up", tuple(given), tuple(LINES[at] for at in holes), "up", TESTS)


class Knowing(Scripted):
    """Writes at each position what stands there in ``PROGRAM``; surer where the row is that long."""

    def __init__(self, *, causal: bool = False, unsure: float = 2.0) -> None:
        super().__init__(PROGRAM, causal=causal)
        self.unsure = unsure
        self.shown: set[str] = set()

    def __call__(
        self, canvas: Any, ask: Any, readout: Any, *, then: Any = None, cache: Any = None
    ) -> Any:
        known_BL = canvas.real_BL & ~canvas.open_BL
        for tokens_L, known_L in zip(canvas.tokens_BL, known_BL, strict=True):
            self.shown.add(TOKENIZER.decode(tokens_L[known_L]))
        right_B = canvas.real_BL.sum(1) == len(self.script)
        position_N = canvas.position_BL[ask.row_N, ask.col_N]

        def head(n: torch.Tensor) -> torch.Tensor:
            logits_nV = torch.zeros(len(n), self.vocab_size)
            for i, where in enumerate(n.tolist()):
                at = int(position_N[where])
                wanted = self.script[at] if at < len(self.script) else END
                sure = bool(right_B[ask.row_N[where]]) or self.causal
                logits_nV[i, wanted] = 10 if sure else self.unsure
            return logits_nV

        return read_out(torch.arange(len(ask)), head, readout, then, 1024)


def toy(denoiser: Any, limit: int = 10_000) -> Any:
    return SimpleNamespace(
        name="toy", denoiser=denoiser, tokenizer=TOKENIZER, family="stock", limit=limit,
        decoder="ar" if denoiser.causal else "diffusion", usual=Usual(),
    )  # fmt: skip


# --- rows -----------------------------------------------------------------------------------------


def humaneval_row(number: int) -> dict[str, str]:
    return {
        "task_id": f"SingleLineInfilling/HumanEval/{number}/L0",
        "entry_point": "twice",
        "prompt": HEAD,
        "suffix": "    return y\n",
        "canonical_solution": "    y = 2 * x\n",
        "test": "def check(candidate):\n    assert candidate(3) == 6\n    assert candidate(0) == 0\n",
    }


@pytest.fixture
def two_rows(tmp_path: Path) -> Path:
    file = tmp_path / "two.jsonl.gz"
    rows = [humaneval_row(0), humaneval_row(7)]
    file.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
    return file


def test_rows_of_a_file(two_rows: Path, sandbox: Sandbox) -> None:
    first, second = read(two_rows)
    assert first.given == (HEAD, "    return y\n") and first.answers == ("    y = 2 * x\n",)
    assert (first.cluster, second.cluster) == ("HumanEval/0", "HumanEval/7")
    assert first.whole_lines
    assert sound(sandbox, [first, second]) == [first, second]
    filled = [Filled(first.id, ("    y = x\n",), first.filled(["    y = x\n"]))]
    passed = score(sandbox, "toy", "known", [first], filled).passed
    assert passed is not None and passed.value == 0


@pytest.mark.parametrize("text", ["{", "[]", '{"task_id": "a/b/1/L0"}', '{"task_id": "a"}'])
def test_files_that_are_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(humaneval_row(0)) + "\n" + text + "\n")
    with pytest.raises(TaskError, match=r"rows.jsonl, line 2: expected a row with task_id"):
        read(file)
    with pytest.raises(TaskError, match=r"none.jsonl: expected a .jsonl"):
        read(tmp_path / "none.jsonl")


def test_chosen_rows_are_the_seed_s_and_a_larger_choice_keeps_them() -> None:
    rows = [Gapped(str(n), n, ("", ""), ("x\n",), "f", ()) for n in range(40)]
    ten, twenty = chosen(rows, 10, 0), chosen(rows, 20, 0)
    assert len(ten) == 10 and ten == [one for one in twenty if one in ten]
    assert ten != chosen(rows, 10, 1) and chosen(rows, 99, 0) == rows
    assert twenty == sorted(twenty, key=lambda one: int(one.id))


def test_cut_lines_are_whole_apart_and_all_sets_are_possible() -> None:
    references = (Reference("".join(LINES), "closed-form", 1.0, True),)
    problem = Problem("p", "def up(x):\n", "up", references, "s", "numbers", 1)
    known = Known(problem, tasks.Tests((), (), TESTS))
    seen = set()
    for seed in range(60):
        one = cut(known, 2, seed)
        assert one is not None and one == cut(known, 2, seed)
        assert one.filled(one.answers) == PROGRAM and one.whole_lines
        assert one.given[1], "holes have given text between them"
        seen.add(one.answers)
    apart = {(LINES[i], LINES[j]) for i in range(5) for j in range(i + 2, 5)}
    assert seen == apart
    assert cut(known, 4, 0) is None and cut(twice(), 2, 0) is None
    one = cut(twice(), 1, 0)
    assert one is not None and one.answers == ("    return 2 * x\n",) and one.given == (HEAD, "")


def test_is_line() -> None:
    assert is_line("x\n") and is_line("\n")
    assert not any(map(is_line, ("", "x", "x\ny", "x\ny\n")))


# --- filling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True], ids=["diffusion", "ar"])
@pytest.mark.parametrize("holes", [(0,), (4,), (0, 2), (0, 2, 4)])
def test_known_lengths(causal: bool, holes: Sequence[int]) -> None:
    one = row(holes)
    [filled] = fill(toy(Knowing(causal=causal)), [one], "known", QUICK)
    assert filled == Filled("up", one.answers, PROGRAM)


def test_an_ar_model_is_shown_what_is_to_the_left_and_nothing_else() -> None:
    for way in ("known", "unknown", "rest"):
        model = Knowing(causal=True)
        fill(toy(model), [row()], way, QUICK)  # type: ignore[arg-type]
        assert all(PROGRAM.startswith(text) for text in model.shown), way
    model = Knowing()
    fill(toy(model), [row()], "known", QUICK)
    assert any(text.endswith("return b\n") and "a = x" not in text for text in model.shown)
    model = Knowing()
    fill(toy(model), [row()], "rest", QUICK)
    assert all(PROGRAM.startswith(text) for text in model.shown), "nor one that could"


def test_an_ar_model_ends_holes_of_unknown_length_with_the_line() -> None:
    [filled] = fill(toy(Knowing(causal=True)), [row()], "unknown", QUICK)
    assert filled == Filled("up", row().answers, PROGRAM)


def test_the_likeliest_length_is_found_hole_by_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LENGTHS", (2, 8, 10, 12))
    # The first hole is 10 long, as is the second: the row is right once both are.
    monkeypatch.setattr(module, "FIRST_LENGTH", 10)
    [filled] = fill(toy(Knowing()), [row()], "unknown", QUICK)
    assert filled == Filled("up", row().answers, PROGRAM)


def test_a_filling_of_one_line_goes_before_one_that_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LENGTHS", (3, 10, 14))
    # Sure of what is no line (length 3 leaves " ="), and unsure of the line.
    model = Knowing(unsure=2.0)
    model.script = model.script[: len(ids(PROGRAM)) - 7]
    one = row((0,))
    [filled] = fill(toy(model), [one], "unknown", QUICK)
    assert filled.fills == one.answers
    free = Gapped(one.id, one.cluster, one.given, ("    a = x",), one.entry_point, one.tests)
    [filled] = fill(toy(model), [free], "unknown", QUICK)
    assert filled.fills == ("   ",), "where holes need not be lines, the likeliest stays"


def test_a_hole_at_the_end_needs_no_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LENGTHS", (2, 10, 30))
    model = Knowing(unsure=8.0)
    [filled] = fill(toy(model), [row((0, 4))], "unknown", QUICK)
    assert filled == Filled("up", row((0, 4)).answers, PROGRAM)


def test_rest_writes_the_program_on() -> None:
    for causal in (False, True):
        [filled] = fill(toy(Knowing(causal=causal)), [row()], "rest", QUICK)
        assert filled.fills is None and filled.program == PROGRAM


def test_rows_that_do_not_fit_are_known_before() -> None:
    rows = [row()]
    assert fitting(toy(Knowing()), rows) == rows
    # given text and 32 tokens for each of two holes
    assert fitting(toy(Knowing(), limit=len(PROGRAM) - 20 + 63), rows) == []
    assert fitting(toy(Knowing(), limit=len(PROGRAM) - 20 + 64), rows) == rows


# --- scores ---------------------------------------------------------------------------------------


def test_scores(sandbox: Sandbox) -> None:
    one = row()
    right, other, wrong = (
        ("    a = x  \n", "    b = a\n"),
        ("    a = x + 0\n", "    b = a\n"),
        ("    a = (\n", "    b = a\n"),
    )
    filled = [Filled("up", fills, one.filled(fills)) for fills in (right, other, wrong)]
    found = score(sandbox, "toy", "known", [one] * 3, filled)
    assert found.exact is not None and found.exact.value == pytest.approx(1 / 3)
    assert found.passed is not None and found.passed.value == pytest.approx(2 / 3)
    assert (found.rows, found.failed, found.exact.clusters) == (3, 0, 1)
    rest = score(sandbox, "toy", "rest", [one], [Filled("up", None, PROGRAM)])
    assert rest.exact is None and rest.passed is not None and rest.passed.value == 1
    assert json.loads(json.dumps(rest.to_json()))["exact"] is None


def test_a_failure_of_the_sandbox_is_no_zero(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any, submissions: Sequence[Any], **how: Any) -> list[Report]:
        fine = Report(("passed",), None, False, 0.0, b"")
        return [fine, Report((), "no worker", False, 0.0, b"")][-len(submissions) :]

    monkeypatch.setattr(module, "check", broken)
    one = row()
    filled = Filled("up", one.answers, PROGRAM)
    found = score(sandbox, "toy", "known", [one, one], [filled, filled])
    assert found.failed == 1 and found.passed is not None
    assert (found.passed.value, found.passed.n) == (1, 1)
    alone = score(sandbox, "toy", "known", [one], [filled])
    assert alone.failed == 1 and alone.passed is None
    assert sound(sandbox, [one]) == []


# --- the command ----------------------------------------------------------------------------------


def test_the_command(two_rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, file = tmp_path / "fills.jsonl", tmp_path / "three.jsonl"
    broken = humaneval_row(8) | {"canonical_solution": "    y = x\n"}
    file.write_text(gzip.decompress(two_rows.read_bytes()).decode() + json.dumps(broken))
    models = ["--model", "mini", "--model", "mini-ar"]
    arguments = ["infilling", str(file), "--way", "known", *models]
    assert run([*arguments, "--json", "--out", str(out)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["model"], one["way"], one["rows"], one["left_out"]) for one in rows] == [
        ("mini", "known", 2, 1), ("mini-ar", "known", 2, 1),
    ], "a row whose own program fails says nothing"  # fmt: skip
    assert all(0 <= one["passed"]["value"] <= 1 for one in rows)
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(one["model"], one["task_id"][-4:]) for one in written] == [
        ("mini", "0/L0"), ("mini", "7/L0"), ("mini-ar", "0/L0"), ("mini-ar", "7/L0"),
    ]  # fmt: skip
    assert all(one["solution"] == HEAD + one["fills"][0] + "    return y\n" for one in written)


def test_rows_of_minicode() -> None:
    two = tasks_of("minicode", 2, 2, "test", 0)
    assert [len(one.answers) for one in two] == [2, 2]
    assert tasks_of("minicode", 1, 2, "test", 0) == two[:1], "fewer rows are the first of more"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["minicode", "--way", "guess"], "--way 'guess': expected one of known, unknown, rest"),
        (["minicode", "-n", "1", "--holes", "30"], "0 of 20 problems have the 59 lines"),
        (["none.jsonl"], "none.jsonl: expected a .jsonl or .jsonl.gz"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["infilling", *arguments]) == 2
    assert message in capsys.readouterr().err
