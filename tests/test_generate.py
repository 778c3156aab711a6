"""Prompts to completions: reading, stops, refusals, holes; around a model that is told what to write."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from scripted import END, TOKENIZER, Scripted, ids

from diffucode.decoding.order import BlockWise, Confidence, DrawnConfidence, Entropy, Order
from diffucode.decoding.schedule import CosineQuota, Quota, Schedule, Threshold
from diffucode.errors import ConfigError, PlanError, PromptError, TraceError
from diffucode.generate.infill import Holes, prepare_infill
from diffucode.generate.model import decoder_of
from diffucode.generate.prompted import Prompt, new_tokens, prepare
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import Completion, stream
from diffucode.generate.traces import TraceFile
from diffucode.models.families.spec import Usual

BODY = "    return a + b\n"
ADD = Prompt("add", "def add(a, b):")


def toy(denoiser: Any, *, limit: int = 999, name: str = "toy", family: str = "toy") -> Any:
    return SimpleNamespace(
        name=name,
        denoiser=denoiser,
        tokenizer=TOKENIZER,
        family=family,
        decoder="ar" if denoiser.causal else "diffusion",
        usual=Usual(),
        limit=limit,
    )


def complete(
    denoiser: Any,
    prompts: Sequence[Prompt] = (ADD,),
    *,
    decoder: Any = "diffusion",
    **settings: Any,
) -> list[Completion]:
    config = GenerateConfig(**{"max_new_tokens": 40, **settings})
    loaded = toy(denoiser)
    jobs = prepare(loaded, prompts, config).jobs()
    frames = stream(loaded, jobs, decoder=decoder, capacity=config.batch_size)
    return [completion for frame in frames for completion in frame.completions]


def test_text_program_and_raw_tokens_are_kept_apart() -> None:
    [done] = complete(Scripted(BODY + "add(1, 2)\n"))
    assert done.text == BODY + "add(1, 2)\n"
    assert done.program == "def add(a, b):\n" + BODY
    assert done.tokens == (*ids(BODY + "add(1, 2)\n"), END)
    assert (done.effective_tokens, done.finish) == (len(done.tokens) - 1, "terminator")
    assert done.steps == done.nfe == len(done.tokens)
    assert done.tokens_per_second == pytest.approx(done.effective_tokens / done.seconds)


def test_a_full_canvas_is_read_the_same_and_costs_more() -> None:
    [retired], [full] = complete(Scripted(BODY)), complete(Scripted(BODY), retire=False)
    assert (full.text, full.program) == (retired.text, retired.program)
    assert full.effective_tokens == retired.effective_tokens
    assert len(full.tokens) == full.nfe == 40


def test_a_canvas_without_a_terminator_ends_by_length() -> None:
    [done] = complete(Scripted("x" * 99), max_new_tokens=5)
    assert (done.text, done.finish, done.effective_tokens) == ("xxxxx", "length", 5)


@pytest.mark.parametrize("backwards", [False, True], ids=["left to right", "right to left"])
@pytest.mark.parametrize("samples", [1, 3])
def test_stop_strings_cut_text_and_tokens_whatever_was_decoded(
    backwards: bool, samples: int
) -> None:
    text = "one\ntwo\n\nthree"
    for done in complete(
        Scripted(text, backwards=backwards),
        stop=("\n\n", "zzz"),
        samples=samples,
        prompt_style="raw",
    ):
        assert (done.text, done.finish) == ("one\ntwo", "stop")
        assert done.tokens == tuple(ids("one\ntwo\n\n"))
        assert done.effective_tokens == len(done.tokens)
        assert done.nfe == (len(done.tokens) if not backwards else 40), "a row ends when it may"


def test_a_stop_string_after_the_terminator_is_not_seen() -> None:
    script = [*ids("ab"), END, *ids("STOP")]
    [done] = complete(Scripted(script), stop=("STOP",), retire=False, prompt_style="raw")
    assert (done.text, done.finish) == ("ab", "terminator")


def test_results_come_as_they_finish_and_do_not_depend_on_the_batch() -> None:
    prompts = [Prompt(str(n), "x" * n + ":") for n in range(1, 6)]
    settings: dict[str, Any] = {"temperature": 1.0, "samples": 2, "seed": 3, "top_k": 3}
    alone = complete(Scripted(BODY), prompts, batch_size=1, **settings)
    together = complete(Scripted(BODY), prompts, batch_size=4, **settings)

    def results(many: list[Completion]) -> dict[Any, Any]:
        return {(c.id, c.sample): (c.tokens, c.text, c.steps) for c in many}

    assert results(alone) == results(together)
    assert len(results(alone)) == 10


def test_prompts_over_the_limit_are_refused_and_the_others_go_on() -> None:
    prompts = [Prompt("long", "x" * 99), ADD]
    loaded = toy(Scripted(BODY), limit=60)
    prepared = prepare(loaded, prompts, GenerateConfig(max_new_tokens=40))
    assert [refusal.id for refusal in prepared.refused] == ["long"]
    assert "99 tokens + 40 new are over the model's limit of 60" in prepared.refused[0].reason
    assert [job.request.id for job in prepared.jobs()] == ["add"]
    [request] = [job.request for job in prepared.jobs()]
    assert request.tokens[: len(ids(ADD.text))] == tuple(ids(ADD.text)), "never cut"


@pytest.mark.parametrize(
    ("prompt", "limit", "asked", "usual", "expected"),
    [(10, 2048, None, None, 256), (10, 100, None, None, 90), (99, 100, None, None, 1),
     (100, 100, None, None, None), (10, 100, 90, None, 90), (10, 100, 91, None, None),
     (10, 100, None, 64, 64), (50, 100, None, 64, 50), (10, 100, 70, 64, 70)],
)  # fmt: skip
def test_room_for_new_tokens(
    prompt: int, limit: int, asked: int | None, usual: int | None, expected: int | None
) -> None:
    assert new_tokens(prompt, limit, asked, usual) == expected


def test_the_usual_pace_of_a_model_is_kept() -> None:
    loaded = toy(Scripted(BODY))
    loaded.usual = Usual(canvas=64, steps=32)
    for settings, steps in (({}, 32), ({"max_new_tokens": 31}, 16), ({"steps": 5}, 5)):
        [job] = prepare(loaded, [ADD], GenerateConfig(**settings)).jobs()
        assert job.request.plan.schedule == Quota(steps)


@pytest.mark.parametrize(
    ("settings", "order"),
    [
        ({}, BlockWise(8, Confidence())),
        ({"order": "entropy"}, BlockWise(8, Entropy())),
        ({"block_length": 4}, BlockWise(4, Confidence())),
        ({"block_length": 0}, Confidence()),
        ({"order": BlockWise(2)}, BlockWise(2)),
        ({"compat": "dream", "order": "entropy"}, Entropy()),
        ({"compat": "llada"}, BlockWise(64, DrawnConfidence())),
    ],
)
def test_the_usual_blocks_of_a_model_are_kept(settings: dict[str, Any], order: Order) -> None:
    loaded = toy(Scripted(BODY))
    loaded.usual = Usual(canvas=64, block_length=8)
    [job] = prepare(loaded, [ADD], GenerateConfig(**settings)).jobs()
    assert job.request.plan.order == order


def test_prompt_ids_tell_results_apart() -> None:
    with pytest.raises(PromptError, match="stands twice"):
        complete(Scripted(BODY), [ADD, ADD])
    with pytest.raises(PromptError, match="prompt 'x': the prompt is empty"):
        complete(Scripted(BODY), [Prompt("x", " ")])


def test_chat_models_are_asked_in_their_template_and_answers_are_cut_out() -> None:
    loaded = toy(Scripted("Sure:\n```python\nx = 1\n```\n"), name="tiny-instruct", family="dream")
    jobs = list(prepare(loaded, [Prompt("p", "Set x.")], GenerateConfig(max_new_tokens=40)).jobs())
    given = TOKENIZER.decode(jobs[0].request.tokens[:-40])
    assert given.startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n")
    [done] = [c for f in stream(loaded, jobs, decoder="diffusion", capacity=1) for c in f[1]]
    assert done.program == "x = 1\n"
    assert done.text.startswith("Sure:")


def test_autoregressive_models_go_the_same_way() -> None:
    [done] = complete(Scripted(BODY, causal=True), decoder="ar")
    assert (done.text, done.finish) == (BODY, "terminator")


# --- settings ------------------------------------------------------------------------------------


def test_bans_and_biases_by_text_and_id() -> None:
    [done] = complete(Scripted("aab"), ban=("b",), prompt_style="raw", max_new_tokens=3)
    assert "b" not in done.text
    [[x]] = [ids("x")]
    [done] = complete(Scripted("aab"), logit_bias={f"#{x}": 99.0}, prompt_style="raw")
    assert done.text == "x" * 40
    with pytest.raises(ConfigError, match="expected one token"):
        complete(Scripted("a"), ban=("ab",))
    with pytest.raises(PlanError, match="vocabulary"):
        complete(Scripted("a"), ban=("#100000",))


def test_a_terminator_penalty_keeps_the_model_writing() -> None:
    [done] = complete(Scripted("ab"), eos_penalty=50.0, prompt_style="raw", max_new_tokens=6)
    assert done.finish == "length"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps 0: expected at least 1"),
        ({"samples": 0}, "samples 0"),
        ({"max_new_tokens": 0}, "max_new_tokens 0"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"block_length": -1}, "block_length -1: expected at least 1, or 0"),
        ({"temperature": -0.1}, "temperature -0.1: expected a number >= 0"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"order_temperature": -1.0}, "order_temperature -1.0"),
        ({"order": "sideways"}, "order 'sideways': expected one of confidence"),
        ({"schedule": "sometimes"}, "schedule 'sometimes': expected quota"),
        ({"schedule": "threshold:much"}, "schedule 'threshold:much'"),
        ({"schedule": "threshold:0.9", "steps": 4}, "decides for itself"),
        ({"stop": ("",)}, "stop: expected non-empty"),
        ({"compat": "dream", "min_p": 0.1}, "min_p: the loop of compat 'dream' does not have it"),
        ({"compat": "dream", "block_length": 4}, "block_length: the loop"),
        (
            {"compat": "dream", "order": "left_to_right"},
            "order 'left_to_right': compat 'dream' has",
        ),
        ({"compat": "llada", "top_p": 0.9}, "top_p: the loop of compat 'llada'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, PlanError), match=message):
        GenerateConfig(**settings)


@pytest.mark.parametrize("compat", ["dream", "llada"])
def test_published_loops_write_the_script_too(compat: Any) -> None:
    [done] = complete(Scripted(BODY), compat=compat, steps=20)
    assert done.text == BODY
    assert done.nfe == 20


def test_only_diffusion_takes_an_order() -> None:
    causal, both = toy(Scripted("", causal=True)), toy(Scripted(""))
    assert decoder_of(causal, GenerateConfig()) == "ar"
    assert decoder_of(both, GenerateConfig()) == "diffusion"
    with pytest.raises(ConfigError, match="order 'random': toy decodes from left to right"):
        decoder_of(causal, GenerateConfig(order="random"))
    with pytest.raises(ConfigError, match="no mask token"):
        decoder_of(causal, GenerateConfig(decoder="diffusion"))


# --- holes ---------------------------------------------------------------------------------------


def fill(text: str, script: str | Sequence[int], **settings: Any) -> list[Completion]:
    loaded = toy(Scripted(script), limit=settings.pop("limit", 999))
    jobs = prepare_infill(loaded, "file", text, GenerateConfig(**settings))
    frames = stream(loaded, jobs, decoder="diffusion", capacity=8)
    return [completion for frame in frames for completion in frame.completions]


def test_holes_are_taken_apart_and_put_together() -> None:
    holes = Holes.of("<FILL:3> = f(<FILL>)\n", default=7)
    assert holes == Holes(("", " = f(", ")\n"), (3, 7))
    assert holes.filled(["abc", "x"]) == "abc = f(x)\n"
    for text, message in (("x = 1", "no holes"), ("<FILL:0>", "at least 1 token")):
        with pytest.raises(PromptError, match=message):
            Holes.of(text)


def test_several_holes_one_at_the_start() -> None:
    [done] = fill("<FILL:3> = f(<FILL:2>, y)\n", "abc" + " = f(" + "xz" + ", y)\n")
    assert done.text == done.program == "abc = f(xz, y)\n"
    assert done.tokens == tuple(ids("abcxz"))
    assert done.effective_tokens == 5


def test_a_hole_with_text_after_it_is_filled_to_its_end() -> None:
    [done] = fill("a = <FILL:4> + 1\nb", "xy")
    assert len(done.text) == len("a = ____ + 1\nb")
    assert END not in done.tokens


def test_a_hole_at_the_end_may_end_early() -> None:
    for text in ("a = <FILL:9>", "a = <FILL:9>\n"):
        [done] = fill(text, "xy")
        assert done.text == text.replace("<FILL:9>", "xy")
        assert (done.effective_tokens, done.finish) == (2, "terminator")


@pytest.mark.parametrize(
    ("settings", "schedule"),
    [
        ({}, Threshold(0.95)),
        ({"order": "entropy"}, Threshold(0.95)),
        ({"steps": 16}, Quota(16)),
        ({"schedule": "quota"}, Quota(32)),
        ({"schedule": "cosine"}, CosineQuota(32)),
        ({"schedule": "threshold:0.5"}, Threshold(0.5)),
        ({"compat": "llada", "order": "random"}, Quota(32)),
    ],
)
def test_the_usual_threshold_of_a_model_is_kept(
    settings: dict[str, Any], schedule: Schedule
) -> None:
    loaded = toy(Scripted(BODY))
    loaded.usual = Usual(canvas=64, steps=32, threshold=0.95)
    [job] = prepare(loaded, [ADD], GenerateConfig(**settings)).jobs()
    assert job.request.plan.schedule == schedule


def test_holes_are_filled_in_any_order() -> None:
    loaded = toy(Scripted(BODY))
    loaded.usual = Usual(canvas=64, block_length=8, threshold=0.9)
    [job] = prepare_infill(loaded, "file", "a = <FILL:2>\n", GenerateConfig())
    assert (job.request.plan.order, job.request.plan.schedule) == (Confidence(), Quota())


def test_given_text_that_talks_about_tokens_stays_text() -> None:
    [done] = fill("# <|mask|> é 漢\nx = <FILL:1>\n", "7")
    assert done.text == "# <|mask|> é 漢\nx = 7\n"


def test_a_file_over_the_limit_is_refused() -> None:
    with pytest.raises(
        PromptError, match="24 tokens, 4 of them in holes, are over the model's limit"
    ):
        fill("x" * 20 + "<FILL:4>", "", limit=20)


# --- trace files ---------------------------------------------------------------------------------


def test_a_trace_file_round_trips_and_needs_no_model() -> None:
    done = complete(Scripted(BODY, backwards=True), samples=2, temperature=0.5)
    file = TraceFile.of("toy", TOKENIZER, [c.trace for c in done], (END,))
    assert TraceFile.loads(file.dumps(), "here") == file
    older = json.loads(file.dumps())
    del older["terminators"]
    assert TraceFile.loads(json.dumps(older), "here").terminators == ()
    token = file.traces[0].token
    assert "".join(file.pieces[int(t)] for t in token).startswith(ADD.text + "\n" + BODY)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "here: not JSON"),
        ("[]", "here: not a trace file"),
        ('{"format": "diffucode-trace", "version": 99}', "version 99; this diffucode reads 1"),
        ('{"format": "diffucode-trace", "version": 1}', "here: KeyError"),
    ],
)
def test_trace_files_that_are_none_are_refused(text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        TraceFile.loads(text, "here")


def test_a_completion_is_json() -> None:
    [done] = complete(Scripted(BODY))
    value = json.loads(json.dumps(done.to_json()))
    assert {
        "id", "sample", "text", "program", "tokens", "steps", "nfe", "seconds", "tokens_per_second",
        "effective_tokens", "finish", "seed",
    } == set(value)  # fmt: skip
