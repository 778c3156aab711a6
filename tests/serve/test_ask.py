"""What a body asks for, and what it is refused for."""

import json
from typing import Any

import pytest

from diffucode.errors import ConfigError
from diffucode.generate.settings import GenerateConfig
from diffucode.sampling.temperature import Linear
from diffucode.serve.ask import ChatBody, CompletionBody, Sampling, parse, read
from diffucode.serve.failures import Failure

BASE = GenerateConfig(temperature=0.4, order_temperature=0.1, stop=("END",), top_k=50)


def asked(**fields: Any) -> Sampling:
    data = parse(json.dumps({"model": "m", "prompt": "p", **fields}).encode())
    return read(CompletionBody, data, BASE, 77)[1]


def refused(**fields: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        asked(**fields)
    assert caught.value.status == 400
    return caught.value


def test_what_is_not_said_is_as_the_server_says() -> None:
    config = asked().config
    assert config == GenerateConfig(
        temperature=0.4, order_temperature=0.1, stop=("END",), top_k=50, seed=77
    )
    assert asked(temperature=None, seed=None).config == config


def test_openai_fields_in_our_words() -> None:
    config = asked(
        temperature=1, top_p=0.9, seed=3, n=4, stop="\n\n", logit_bias={"12": -5, "x": 1.5}
    ).config
    assert (config.temperature, config.top_p, config.seed, config.samples) == (1, 0.9, 3, 4)
    assert (config.stop, config.logit_bias) == (("\n\n",), {"#12": -5, "x": 1.5})
    assert asked(stop=["a", "b"]).config.stop == ("a", "b")
    assert asked(stop=[]).config.stop == ()


def test_extensions() -> None:
    config = asked(order="margin", order_temperature=0.7, steps=9, block_length=4).config
    assert (config.order, config.order_temperature) == ("margin", 0.7)
    assert (config.steps, config.block_length) == (9, 4)
    assert asked(threshold=0.9).config.schedule == "threshold:0.9"
    assert asked(entropy_bound=0.1, order_temperature=0).config.schedule == "entropy_bound:0.1"
    policy = {"kind": "linear", "initial": 1.0, "final": 0.2}
    assert asked(temperature=policy).config.temperature == Linear(initial=1.0, final=0.2)


def test_max_tokens_is_a_ceiling_and_max_new_tokens_is_not() -> None:
    assert asked(max_tokens=5).ceiling == asked(max_completion_tokens=5).ceiling == 5
    assert asked(max_tokens=5).config.max_new_tokens is None
    assert (asked(max_new_tokens=5).ceiling, asked(max_new_tokens=5).config.max_new_tokens) == (
        None,
        5,
    )


def test_the_rest_is_neutral_or_ignored() -> None:
    assert asked(echo=False, best_of=1, presence_penalty=0.0, user="me", tools=[]) == asked()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("temprature", 1, "did you mean 'temperature'"),
        ("device", "cpu", "unknown field 'device'"),
        ("messages", [], "unknown field 'messages'"),
        ("temperature", -1, "expected a number >= 0"),
        ("temperature", "hot", "expected a valid number"),
        ("n", 0, "n 0: expected at least 1"),
        ("n", "3", "n: expected a valid integer"),
        ("stop", [""], "non-empty"),
        ("stop", 3, "stop"),
        ("order", "best", "expected one of confidence"),
        ("steps", 0, "steps 0: expected at least 1"),
        ("max_tokens", 0, "max_tokens 0: expected a whole number >= 1"),
        ("max_tokens", True, "max_tokens True: expected a whole number >= 1"),
        ("echo", True, "does not have it"),
        ("logprobs", 3, "does not have it"),
        ("best_of", 2, "does not have it"),
        ("prompt", [1, 2], "prompt"),
        ("logit_bias", [1], "logit_bias"),
        ("stream", "yes", "stream: expected a valid boolean"),
    ],
)
def test_a_refusal_names_the_field(field: str, value: Any, words: str) -> None:
    failure = refused(**{field: value})
    assert words in str(failure)
    assert failure.to_json()["error"]["param"] == field
    assert failure.to_json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "both",
    [
        {"max_tokens": 3, "max_completion_tokens": 3},
        {"max_tokens": 3, "max_new_tokens": 3},
        {"schedule": "cosine", "threshold": 0.9},
        {"threshold": 0.9, "entropy_bound": 0.1},
    ],
)
def test_what_excludes_each_other(both: dict[str, Any]) -> None:
    assert "exclude each other" in str(refused(**both))


def test_what_depends_on_the_batch_is_refused() -> None:
    data = {"model": "m", "prompt": "p"}
    _, sampling = read(CompletionBody, {**data, "compat": "llada"}, GenerateConfig(), 0)
    assert sampling.config.compat == "llada"
    with pytest.raises(ConfigError, match="commits by the mean of its batch"):
        read(CompletionBody, {**data, "compat": "dream"}, GenerateConfig(), 0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1]", "expected an object"),
        (b'{"prompt": NaN}', "NaN is not a JSON number"),
        (b'{"prompt": "\\ud800"}', "surrogate"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_body_that_is_none(data: bytes, words: str) -> None:
    with pytest.raises(Failure, match=words):
        parse(data)


def test_chat_content_in_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    data = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    body, _ = read(ChatBody, data, BASE, 0)
    assert [message.text for message in body.messages] == ["ab"]
    picture = [{"type": "image_url", "image_url": {}}]
    with pytest.raises(Failure, match="messages"):
        read(ChatBody, {"model": "m", "messages": [{"role": "user", "content": picture}]}, BASE, 0)
