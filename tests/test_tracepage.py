"""The page of traces: its data, what it loads, and what headless Chromium makes of it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import rendered

from diffucode.cli import run
from diffucode.decoding.trace import Trace, blank
from diffucode.generate.traces import TraceFile
from diffucode.tracepage.page import Panel, render

PIECES = {0: "", 1: "def f():\n", 2: "    return", 3: " '</script>'", 4: "\n", 9: "<|end|>"}


def recorded(*steps: list[int]) -> TraceFile:
    """Samples of one prompt; the step of each of four tokens behind it."""
    traces = []
    for sample, these in enumerate(steps):
        trace = blank("f", sample, 7, 1, 6, 0)
        trace.given[0] = True
        trace.token[:] = [1, 2, 3, 4, 9, 0]
        trace.step[1:5] = these
        trace.rank[1:5] = 0
        trace.raw_logprob[1:5] = [-0.5, -1.5, 0, 0]
        trace.behaviour_logprob[1:5] = [-0.25, -1.0, 0, 0]
        trace.entropy[1:5] = [0.4, 1.2, 0, 0]
        trace.tau[1:5] = 0.7
        traces.append(trace)
    return TraceFile("toy", PIECES, tuple(traces), (9,))


def page(*steps: list[int]) -> str:
    file = recorded(*steps)
    return render([Panel("here.json", file, trace) for trace in file.traces])


class Elements(HTMLParser):
    """Every element with its attributes and its own text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs), []))

    def handle_data(self, data: str) -> None:
        if self.found:
            self.found[-1][2].append(data)

    def named(self, tag: str, **attributes: str) -> list[tuple[dict[str, str | None], str]]:
        return [
            (has, "".join(text))
            for name, has, text in self.found
            if name == tag and all(has.get(key) == value for key, value in attributes.items())
        ]


def spans(text: str) -> list[tuple[str, str]]:
    """Class and text of every token that Chromium drew."""
    return [
        (str(has.get("class")), inside)
        for has, inside in Elements(text).named("span")
        if has.get("class") != "scale"
    ]


def test_the_page_holds_every_figure_and_loads_nothing() -> None:
    text = page([0, 2, 1, 1])
    parsed = Elements(text)
    [(_, data)] = parsed.named("script", id="data")
    [panel] = json.loads(data)["panels"]
    columns = panel["columns"]
    assert "".join(columns["text"]) == "def f():\n    return '</script>'\n<|end|>"
    assert columns["step"] == [-1, 0, 2, 1, 1, -1] and panel["last"] == 2
    assert columns["raw"] == [None, -0.5, -1.5, 0, 0, None]
    assert columns["behaviour"][2] == -1 and columns["entropy"][2] == 1.2
    assert columns["special"] == [False] * 4 + [True, False]
    assert "local AR-ness@1 0.50, global 0.50" in panel["facts"] and "seed 7" in panel["facts"]
    assert not [has for tag, has, _ in parsed.found if {"src", "href"} & set(has)]
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", text)
    assert len(parsed.named("script")) == 2, "a token that closes the element stays inside"


def test_the_plain_text_stands_there_without_scripts() -> None:
    [(_, text)] = Elements(page([0, 1, 2, 3])).named("pre")
    assert text == "def f():\n    return '</script>'\n"


def test_chromium_draws_the_step_of_the_hash(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page([0, 2, 1, 1], [3, 2, 1, 0]))
    drawn = rendered(file, "step=1&colour=entropy&theme=dark", tmp_path / "profile")
    shown = spans(drawn)
    one, two = shown[:6], shown[6:]
    assert [kind for kind, _ in one] == [
        "given", "token written", "token open", "token written fresh", "token written fresh", "never",
    ]  # fmt: skip
    assert [kind for kind, _ in two[1:5]] == [
        "token open", "token open", "token written fresh", "token written",
    ]  # fmt: skip
    assert one[2][1] == " '</script>'" and one[4][1] == "∎"
    words = re.sub(r"<[^>]*>", "\n", drawn)
    assert "step 1 of 3" in words and "3 written, 1 open" in words and "2 written, 2 open" in words
    assert 'data-theme="dark"' in drawn
    # 230 is blue: sure; the least sure token, 1.2 nats, is red
    assert re.search(r'class="token open"[^>]*--hue: 20', drawn)


def test_chromium_answers_keys_and_the_pointer(tmp_path: Path) -> None:
    act = """<script>
        const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key }));
        ["Home", "ArrowRight", "ArrowRight", "ArrowLeft", "c", "t"].forEach(press);
        document.querySelector('[data-i="1"]').dispatchEvent(new PointerEvent("pointerenter"));
        document.body.dataset.hash = location.hash;
        document.body.dataset.tip = document.getElementById("tip").textContent;
        document.querySelector('[data-i="1"]').dispatchEvent(new PointerEvent("pointerleave"));
        document.body.dataset.gone = document.getElementById("tip").hidden;
        press("Home");
        document.querySelector('[data-i="2"]').dispatchEvent(new PointerEvent("pointerenter"));
        document.body.dataset.early = document.getElementById("tip").hidden;
        press(" ");
    </script></body>"""
    file = tmp_path / "page.html"
    file.write_text(page([0, 2, 1, 1]).replace("</body>", act))
    drawn = rendered(file, "step=2&theme=light", tmp_path / "profile")
    [(body, _)] = Elements(drawn).named("body")
    assert body["data-hash"] == "#step=1&colour=probability&theme=dark"
    tip = str(body["data-tip"])
    # exp(-0.5), exp(-0.25)
    assert "probability 0.607, drawn with 0.779" in tip and "entropy 0.400 nats" in tip
    assert "at temperature 0.700" in tip and '"    return"  #2, position 1' in tip
    assert body["data-gone"] == "true"
    assert body["data-early"] == "true", "an open position tells nothing"
    assert "step 2 of 2" in drawn and ">play</button>" in drawn, "it played to the end and stopped"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text(recorded([0, 1, 2, 3], [3, 2, 1, 0]).dumps())
    two.write_text(recorded([1, 0, 1, 0]).dumps())
    return one, two


def titles(path: Path) -> list[str]:
    [(_, data)] = Elements(path.read_text()).named("script", id="data")
    return [f"{p['title']} {p['facts'].split()[0]}" for p in json.loads(data)["panels"]]


def test_the_command(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    one, two = files
    assert run(["tracepage", str(one)]) == 0
    made = Path(capsys.readouterr().out.strip())
    assert made == one.with_suffix(".html") and titles(made) == ["f, sample 0 one.json"]
    out = one.parent / "both.html"
    assert run(["tracepage", str(one), "--beside", str(two), "--out", str(out)]) == 0
    assert titles(out) == ["f, sample 0 one.json", "f, sample 0 two.json"]
    samples = ["--sample", "1", "--sample", "0"]
    assert run(["tracepage", str(one), "--id", "f", *samples, "--out", str(out)]) == 0
    assert titles(out) == ["f, sample 1 one.json", "f, sample 0 one.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one.json", "--id", "g"], "no prompt 'g'; it holds f 0, f 1"),
        (["one.json", "--sample", "5"], "no sample 5 of prompt 'f'"),
        (["one.json", "--beside", "two.json", "--sample", "1"], "two.json: no sample 1"),
        (["one.json", *["--sample", "0"] * 5], "5 traces: a page shows 4 at most"),
        (["none.json"], "none.json: cannot read the file"),
        (["one.json", "--out", "one.json/page.html"], "cannot write the page there"),
    ],
)
def test_mistakes_are_one_line(
    files: tuple[Path, Path],
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(files[0].parent)
    assert run(["tracepage", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_a_trace_without_steps_is_no_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "empty.json"
    empty: Trace = blank("f", 0, 0, 1, 3, 0)
    empty.given[0] = True
    file.write_text(TraceFile("toy", PIECES, (empty,)).dumps())
    assert run(["tracepage", str(file)]) == 2
    assert "has no step: nothing was written" in capsys.readouterr().err
