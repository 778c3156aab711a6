"""The command line, in process: results, one line for each mistake, exit codes."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffucode.cli import run
from diffucode.cli.inputs import read_jsonl
from diffucode.generate.prompted import Prompt
from diffucode.models.load import Loaded, load, save
from diffucode.models.toy import tiny_tokenizer, tiny_transformer
from diffucode.tasks.prompts import HEADERS

PROMPT = 'def total(nums):\n    """Return the sum of nums."""\n'
QUICK = ["--max-new-tokens", "8", "--device", "cpu"]
KEYS = {
    "id", "text", "program", "tokens", "steps", "nfe", "seconds", "tokens_per_second",
    "effective_tokens", "finish", "seed",
}  # fmt: skip

Tell = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths lead into an empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Exit code, stdout and stderr of a command line."""

    def tell(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return tell


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_generate_prints_the_program_alone(tell: Tell) -> None:
    code, out, err = tell("generate", PROMPT, *QUICK)
    assert code == 0
    assert out.startswith(PROMPT)
    assert err.startswith("diffucode: ") and "steps" in err


def test_json_has_its_keys_and_the_seed_decides(tell: Tell) -> None:
    # hot enough that two samples agree on all eight tokens with odds below 1e-6
    arguments = ("generate", PROMPT, *QUICK, "--json", "--temperature", "5", "-n", "2")
    code, out, err = tell(*arguments, "--seed", "1")
    assert (code, err) == (0, "")
    first = rows(out)
    assert all(set(row) >= KEYS for row in first)
    assert [row["seed"] for row in first] == [1, 1]
    [again, other] = [rows(tell(*arguments, "--seed", seed)[1]) for seed in "12"]
    by_sample = [{r["sample"]: r["tokens"] for r in many} for many in (first, again, other)]
    assert by_sample[0] == by_sample[1] != by_sample[2]
    assert by_sample[0][0] != by_sample[0][1]


def test_prompts_from_everywhere(
    tell: Tell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, lines = tmp_path / "add.py", tmp_path / "prompts.jsonl"
    file.write_text(PROMPT)
    lines.write_text(json.dumps({"id": "a", "prompt": PROMPT}) + '\n\n{"prompt": "def f():"}\n')
    monkeypatch.setattr("sys.stdin", io.StringIO(PROMPT))
    results = [
        rows(tell("generate", *source, *QUICK, "--json")[1])
        for source in ([PROMPT], ["-"], ["-f", str(file)], ["--prompts", str(lines)])
    ]
    assert [sorted(row["id"] for row in many) for many in results] == [
        ["prompt"], ["prompt"], ["add.py"], ["3", "a"],
    ]  # fmt: skip
    assert len({row["program"] for many in results for row in many if row["id"] != "3"}) == 1


def test_a_config_file_overrides_and_flags_in_that_order(tell: Tell, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("max_new_tokens: 5\nsteps: 5\nseed: 7\n")
    arguments = ("generate", PROMPT, "--config", str(file), "--json", "retire=false")
    assert rows(tell(*arguments)[1])[0]["steps"] == 5
    assert rows(tell(*arguments, "steps=4")[1])[0]["steps"] == 4
    [row] = rows(tell(*arguments, "steps=4", "--steps", "3")[1])
    assert (row["steps"], row["seed"], len(row["tokens"])) == (3, 7, 5)


def test_prompts_over_the_limit_are_counted(tell: Tell, tmp_path: Path) -> None:
    lines = tmp_path / "prompts.jsonl"
    long = {"id": "long", "prompt": "x = 1\n" * 2000}
    lines.write_text(json.dumps(long) + "\n" + json.dumps({"id": "a", "prompt": PROMPT}) + "\n")
    code, out, err = tell("generate", "--prompts", str(lines), *QUICK, "--json")
    assert code == 2
    assert [row["id"] for row in rows(out)] == ["a"]
    assert "refused 'long'" in err and "1 of 2 prompts refused" in err


def test_infill_trace_and_replay(tell: Tell, tmp_path: Path) -> None:
    file, trace = tmp_path / "holes.py", tmp_path / "trace.json"
    file.write_text("<FILL:2> = 0\nfor x in nums:\n    total += <FILL>\n")
    code, out, _ = tell("infill", str(file), "--json", "--trace", str(trace), "--device", "cpu")
    assert code == 0
    [row] = rows(out)
    assert " = 0\nfor x in nums:\n    total += " in row["text"]
    assert len(row["tokens"]) <= 2 + 16
    code, out, _ = tell("replay", str(trace))
    assert code == 0
    assert out.count("\nstep ") == row["steps"]
    ends = json.loads(trace.read_text())["terminators"]
    assert ends == list(load("mini").denoiser.terminator_ids), "a reader can tell where answers end"


def test_watching_shows_the_canvas_on_stderr_only(tell: Tell) -> None:
    code, out, err = tell("generate", PROMPT, *QUICK, "--watch", "--json")
    assert code == 0
    assert len(rows(out)) == 1
    assert "open" in err and "def total" in err


@pytest.mark.parametrize(
    ("layout", "shift", "stock"), [("dream", True, "qwen2"), ("llada", False, "llama")]
)
def test_published_checkpoints_generate_from_a_folder(
    tell: Tell, tmp_path: Path, layout: str, shift: bool, stock: str
) -> None:
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *HEADERS.marks, "<|mask|>")
    tokenizer = tiny_tokenizer(specials)
    denoiser = tiny_transformer(len(tokenizer), shift=shift, family=stock)
    save(Loaded(layout, denoiser, tokenizer, layout, "diffusion", 0), tmp_path / "model", layout)
    arguments = ("generate", "Add.", "--model", str(tmp_path / "model"), *QUICK, "--json")
    for compat in ([], ["--compat", layout, "--steps", "4"]):
        code, out, err = tell(*arguments, *compat, "--trace", "trace.json")
        assert code == 0, err
        assert len(rows(out)[0]["tokens"]) > 0
        given = tell("replay", "trace.json")[1]
        assert "Add.<|" in given and ("helpful" in given) == (layout == "dream"), "its template"


def test_models_and_doctor(tell: Tell) -> None:
    listed = rows(tell("models", "--json")[1])
    assert "mini" in [row["name"] for row in listed]
    assert all({"name", "kind", "parameters", "bytes"} <= set(row) for row in listed)
    assert "mini" in tell("models")[1]
    code, out, _ = tell("doctor", "--json")
    report = json.loads(out)
    assert (code, report["ok"]) == (0, True)
    assert report["models"]["mini"]["opens"]
    assert report["sandbox"]["tier"] and all(report["sandbox"]["probes"].values())
    assert tell("doctor")[1].endswith("ok\n")


def test_help_is_help(tell: Tell) -> None:
    assert "generate" in tell()[1]
    for command in ("generate", "infill", "replay", "estimators", "models", "doctor"):
        code, out, _ = tell(command, "--help")
        assert (code, "Usage" in out) == (0, True)


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate"], "0 sources of prompts"),
        (["generate", ""], "is empty"),
        (["generate", " \n"], "is empty"),
        (["generate", "-f", "nowhere.py"], "nowhere.py: cannot read"),
        (["generate", "--prompts", "nowhere.jsonl"], "nowhere.jsonl: cannot read"),
        (["generate", "-f", "a", "--prompts", "b"], "2 sources of prompts"),
        (["generate", "x", "--model", "nope"], "no model 'nope'"),
        (["generate", "x", "--steps", "0"], "steps 0: expected at least 1"),
        (["generate", "x", "--steps", "many"], "'--steps'"),
        (["generate", "x", "--temperature", "-1"], "temperature -1.0"),
        (["generate", "x", "--top-p", "1.5"], "top_p 1.5"),
        (["generate", "x", "--top-k", "0"], "top_k 0"),
        (["generate", "x", "-n", "0"], "samples 0"),
        (["generate", "x", "--batch-size", "0"], "batch_size 0"),
        (["generate", "x", "--order", "upwards"], "order 'upwards'"),
        (["generate", "x", "--schedule", "threshold:7"], "threshold 7.0"),
        (["generate", "x", "--compat", "bert"], "compat 'bert'"),
        (["generate", "x", "--decoder", "both"], "decoder 'both'"),
        (["generate", "x", "--prompt-style", "poem"], "prompt_style 'poem'"),
        (["generate", "x", "--prompt-style", "chat"], "no chat template"),
        (["generate", "x", "--system", "be terse"], "needs a chat model"),
        (["generate", "x", "--dtype", "float8"], "dtype 'float8'"),
        (["generate", "x", "--device", "abacus"], "device 'abacus'"),
        (["generate", "x", "--logit-bias", "word"], "expected TOKEN=NUMBER"),
        (["generate", "x", "--logit-bias", "#1=much"], "expected TOKEN=NUMBER"),
        (["generate", "x", "--logit-bias", "#1=nan"], "logit bias"),
        (["generate", "x", "--ban", "#9999999"], "vocabulary"),
        (["generate", "x", "--trace", "no/such/folder/t.json"], "cannot write the trace there"),
        (["generate", "x", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["generate", "x", "modle=mini"], "unknown key 'modle'"),
        (["generate", "x", "steps"], "expected key=value"),
        (["generate", "x", "steps=many"], "steps"),
        (["generate", "x", "--stpes", "3"], "No such option: --stpes"),
        (["infill", "nowhere.py"], "nowhere.py: cannot read"),
        (["infill"], "Missing argument"),
        (["replay", "nowhere.json"], "nowhere.json: cannot read"),
        (["generat", "x"], "No such command 'generat'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_code_2(tell: Tell, arguments: list[str], message: str) -> None:
    code, out, err = tell(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("diffucode: ") and err.count("\n") == 1, err
    assert message in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: expected an object"),
        ('{"id": "a"}', "line 2: expected an object"),
        ('{"prompt": 3}', "line 2: expected an object"),
        ('{"id": [], "prompt": "x"}', "line 2: id []"),
        ('{"id": "a", "prompt": "x"}', "prompt id 'a' stands twice"),
        ('{"id": "b", "prompt": " "}', "prompt 'b' is empty"),
    ],
)
def test_bad_jsonl_names_its_line(tell: Tell, tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"id": "a", "prompt": "x"}\n' + line + "\n")
    code, out, err = tell("generate", "--prompts", str(file), *QUICK)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_line_separators_inside_of_json_end_no_line() -> None:
    found = read_jsonl('{"prompt": "a\u2028b\x85c"}\r\n\n{"prompt": "d"}\n', "here")
    assert found == [Prompt("1", "a\u2028b\x85c"), Prompt("3", "d")]


def test_files_that_are_none(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / "no_holes.py").write_text("x = 1\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    for arguments, message in (
        (("infill", str(tmp_path / "no_holes.py")), "no holes"),
        (("generate", "-f", str(tmp_path / "binary")), "not UTF-8"),
        (("replay", str(tmp_path / "no_holes.py")), "not JSON"),
        (("generate", "x", "--model", str(tmp_path / "broken")), "config.json"),
        (("generate", "x", "--trace", str(tmp_path)), "cannot write the trace there"),
    ):
        code, out, err = tell(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert message in err


def test_ctrl_c_is_130_and_keeps_the_trace(
    tell: Tell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffucode.generate.stream import Batch, Frame

    step = Batch.step
    ended: list[Any] = []

    def interrupted(batch: Batch) -> Frame:
        if ended:
            raise KeyboardInterrupt
        frame = step(batch)
        ended.extend(frame.completions)
        return frame

    monkeypatch.setattr(Batch, "step", interrupted)
    trace = tmp_path / "trace.json"
    arguments = ("generate", PROMPT, *QUICK, "-n", "9", "--batch-size", "1", "--json")
    code, out, err = tell(*arguments, "--trace", str(trace))
    assert (code, err) == (130, "diffucode: interrupted\n")
    assert len(rows(out)) == 1
    assert len(json.loads(trace.read_text())["traces"]) == 1


def test_the_trace_file_is_tried_before_the_work(
    tell: Tell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffucode.generate.model as model

    def refuse(*arguments: Any, **named: Any) -> Any:
        raise AssertionError("the model was loaded first")

    monkeypatch.setattr(model, "load", refuse)
    assert tell("generate", "x", "--trace", str(tmp_path / "no" / "t.json"))[0] == 2
