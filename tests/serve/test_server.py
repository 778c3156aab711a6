"""The server over a socket: the openai client, EvalPlus, clients that hang up, and its end."""

import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from running import ROOT
from scripted import END, MASK, TOKENIZER, Scripted
from serving import PATIENCE, Held, Running, running, toy

from diffucode.cli import run
from diffucode.generate.model import decoder_of
from diffucode.generate.prompted import Prompt, prepare
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import Completion, stream
from diffucode.models.load import load
from diffucode.models.toy import TableDenoiser
from diffucode.serve.limits import Limits

PROMPT = 'def total(nums):\n    """Return the sum of the even numbers in nums."""\n'
ENDLESS = 900


@pytest.fixture(scope="module")
def mini() -> Any:
    return load("mini")


@pytest.fixture(scope="module")
def served(mini: Any) -> Iterator[Running]:
    with running(mini, GenerateConfig(batch_size=32)) as server:
        yield server


def alone(loaded: Any, prompt: str, **settings: Any) -> list[Completion]:
    """What ``diffucode generate PROMPT --prompt-style raw`` makes of it, in a batch of its own."""
    config = GenerateConfig(**{"prompt_style": "raw", **settings})
    jobs = prepare(loaded, [Prompt("prompt", prompt)], config).jobs()
    frames = stream(loaded, jobs, decoder=decoder_of(loaded, config), capacity=1)
    done = [completion for frame in frames for completion in frame.completions]
    return sorted(done, key=lambda completion: completion.sample)


def ask(server: Running, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON of one plain request."""
    connection = http.client.HTTPConnection(server.url.split("/")[2], timeout=PATIENCE)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request("GET" if body is None else "POST", path, data, headers)
    answer = connection.getresponse()
    status, value = answer.status, json.loads(answer.read())
    connection.close()
    return status, value


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to be"


def is_loaded(server: Running, decoding: int, waiting: int = 0) -> bool:
    health = ask(server, "/health")[1]
    return (health["decoding"], health["waiting"]) == (decoding, waiting)


# --- the openai client ---------------------------------------------------------------------------


def test_a_completion_is_what_generate_writes(served: Running, mini: Any) -> None:
    answer = served.client.completions.create(
        model="mini",
        prompt=PROMPT,
        n=2,
        temperature=0.7,
        seed=3,
        stop="return",
        extra_body={"order_temperature": 0.4},
    )
    expected = alone(
        mini, PROMPT, samples=2, temperature=0.7, seed=3, stop=("return",), order_temperature=0.4
    )
    assert [choice.text for choice in answer.choices] == [done.text for done in expected]
    assert [choice.finish_reason for choice in answer.choices] == [
        "length" if done.finish == "length" else "stop" for done in expected
    ]
    usage = answer.usage
    assert usage is not None and usage.model_extra is not None
    assert usage.model_extra["nfe"] == sum(done.nfe for done in expected)
    assert usage.completion_tokens == sum(done.effective_tokens for done in expected)
    assert usage.prompt_tokens == expected[0].trace.start
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert answer.choices[1].model_extra == {
        "diffucode": {"seed": 3, "sample": 1, "steps": expected[1].steps, "nfe": expected[1].nfe}
    }


def test_a_stream_says_the_same_piece_by_piece(served: Running, mini: Any) -> None:
    events = list(
        served.client.completions.create(
            model="mini",
            prompt=[PROMPT, PROMPT.replace("even", "odd")],
            n=2,
            temperature=0.7,
            seed=3,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    texts, finished = ["", "", "", ""], 0
    for event in events[:-1]:
        [choice] = event.choices
        texts[choice.index] += choice.text
        finished += choice.finish_reason is not None
    expected = [
        *alone(mini, PROMPT, samples=2, temperature=0.7, seed=3),
        *alone(mini, PROMPT.replace("even", "odd"), samples=2, temperature=0.7, seed=3),
    ]
    assert texts == [done.text for done in expected]
    assert finished == 4 < len(events) - 1, "in more than one piece"
    usage = events[-1].usage
    assert usage is not None and not events[-1].choices
    assert usage.completion_tokens == sum(done.effective_tokens for done in expected)


def test_chat_with_a_model_that_continues_programs(served: Running, mini: Any) -> None:
    said = f"Please write it:\n```python\n{PROMPT.strip()}\n```"
    messages: Any = [{"role": "system", "content": "Be good."}, {"role": "user", "content": said}]
    answer = served.client.chat.completions.create(model="mini", messages=messages)
    [done] = alone(mini, PROMPT)
    expected = f"```python\n{PROMPT}{done.text}\n```"
    assert answer.choices[0].message.content == expected
    events = served.client.chat.completions.create(model="mini", messages=messages, stream=True)
    deltas = [event.choices[0].delta for event in events]
    assert "".join(delta.content or "" for delta in deltas) == expected
    assert [delta.role for delta in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
    with pytest.raises(openai.BadRequestError, match="does not chat"):
        served.client.chat.completions.create(model="mini", messages=messages * 2)


def test_a_suffix_is_a_hole_to_fill(served: Running) -> None:
    before, after = PROMPT + "    return sum(x for x in nums if", ")\n"
    answer = served.client.completions.create(
        model="mini", prompt=before, suffix=after, max_tokens=5
    )
    assert answer.usage is not None and answer.usage.completion_tokens == 5
    events = served.client.completions.create(
        model="mini", prompt=before, suffix=after, max_tokens=5, stream=True
    )
    assert "".join(event.choices[0].text for event in events) == answer.choices[0].text != ""


def test_max_tokens_is_at_most_the_models_canvas(served: Running, mini: Any) -> None:
    def written(**fields: Any) -> str:
        return (
            served.client.completions.create(model="mini", prompt=PROMPT, **fields).choices[0].text
        )

    assert written(max_tokens=100_000) == written() == alone(mini, PROMPT)[0].text
    assert written(max_tokens=5) == alone(mini, PROMPT, max_new_tokens=5)[0].text
    with pytest.raises(openai.BadRequestError, match="over the model's limit"):
        written(extra_body={"max_new_tokens": 100_000})


def test_requests_without_a_seed_differ_and_can_be_had_again(served: Running) -> None:
    def answer(**seed: int) -> tuple[str, int]:
        choice = served.client.completions.create(
            model="mini", prompt=PROMPT, temperature=8.0, max_tokens=16, **seed
        ).choices[0]
        assert choice.model_extra is not None
        return choice.text, choice.model_extra["diffucode"]["seed"]

    (first, seed), (second, _) = answer(), answer()  # alike with odds below 1e-9
    assert first != second
    assert answer(seed=seed) == (first, seed)


def test_models(served: Running) -> None:
    assert [model.id for model in served.client.models.list()] == ["mini"]
    assert served.client.models.retrieve("mini").id == "mini"
    with pytest.raises(openai.NotFoundError, match="this server has 'mini' only"):
        served.client.models.retrieve("maxi")
    with pytest.raises(openai.NotFoundError, match="this server has 'mini' only"):
        served.client.completions.create(model="maxi", prompt="x")


# --- many at once --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["table", "mini"])
def test_32_requests_at_once_answer_as_alone(name: str, mini: Any) -> None:
    """Exactly with the table. Sums of a transformer differ in their last bits between batches, so there
    an answer changes with the odds that one of some thousand decisions has a margin of 1e-6 or so.
    """
    table = TableDenoiser(len(TOKENIZER), mask_id=MASK, terminator_ids=(END,), scale=4.0)
    loaded = mini if name == "mini" else toy(table)
    wishes = [
        {
            "temperature": (0.0, 0.3, 0.7, 1.0)[i % 4],
            "order_temperature": (0.0, 0.5)[i // 4 % 2],
            "max_new_tokens": 8 + i % 9,
            "seed": i // 2,
            **({"schedule": "threshold:0.9"} if i % 3 else {"steps": 3 + i // 4}),
        }
        for i in range(32)
    ]
    prompts = [f'def f{i % 5}(nums):\n    """' for i in range(32)]
    model = Held(loaded.denoiser)
    held = replace(loaded, denoiser=model)
    with (
        running(held, GenerateConfig(batch_size=24)) as server,
        ThreadPoolExecutor(32) as clients,
    ):
        answers = [
            clients.submit(
                server.client.completions.create,
                model=loaded.name,
                prompt=prompt,
                extra_body=wish,
            )
            for prompt, wish in zip(prompts, wishes, strict=True)
        ]
        until(lambda: sum(ask(server, "/health")[1][k] for k in ("decoding", "waiting")) == 32)
        model.let(100 * ENDLESS)
        texts = [answer.result(PATIENCE).choices[0].text for answer in answers]
    assert max(model.rows) == 24, "they joined"
    expected = [
        alone(loaded, prompt, **wish)[0].text for prompt, wish in zip(prompts, wishes, strict=True)
    ]
    assert texts == expected
    assert len(set(texts)) > 16


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_a_client_that_hangs_up_frees_its_row(streamed: bool) -> None:
    model = Held(Scripted("x" * ENDLESS))
    with running(toy(model), GenerateConfig(batch_size=1)) as server:
        host, port = server.url.split("/")[2].split(":")
        body = {"model": "toy", "prompt": "a", "max_tokens": ENDLESS, "stream": streamed}
        data = json.dumps(body).encode()
        with socket.create_connection((host, int(port)), PATIENCE) as connection:
            connection.sendall(
                b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(data), data)
            )
            model.await_call()
            if streamed:
                model.let(3)
                assert b"200 OK" in connection.recv(1000)
        with ThreadPoolExecutor(1) as other:
            answer = other.submit(
                server.client.completions.create, model="toy", prompt="b", max_tokens=3
            )
            calls = 0
            while not answer.done():
                calls += 1
                assert calls < ENDLESS - 100, "the row is still the other client's"
                model.let(1)
                ask(server, "/health")
            assert answer.result().choices[0].text == "xxx"
        assert len(model.rows) < ENDLESS - 100
        model.let(ENDLESS)


# --- refusals ------------------------------------------------------------------------------------


def test_refusals_have_the_form_of_openai(served: Running) -> None:
    for path, body, expected in [
        ("/v1/completions", b"{", 400),
        ("/v1/completions", {"model": "mini"}, 400),
        ("/v1/completions", {"model": "mini", "prompt": ""}, 400),
        ("/v1/completions", {"model": "mini", "prompt": PROMPT * 50}, 400),
        ("/v1/completions", {"model": "mini", "prompt": "x", "n": 1000}, 400),
        ("/v1/completions", {"model": "mini", "prompt": "x", "ban": ["#4000"]}, 400),
        ("/v1/completions", b'{"model": "mini", "prompt": "x", "temperature": 1e999}', 400),
        ("/v1/completions", {"model": "mini", "prompt": "x" * (1 << 20)}, 400),
        ("/v1/chat/completions", {"model": "mini", "messages": []}, 400),
        ("/v1/embeddings", {"model": "mini", "input": "x"}, 404),
        ("/v1/completions", None, 405),
    ]:
        status, value = ask(served, path, body)
        assert status == expected, (body, value)
        assert value.keys() == {"error"}
        assert value["error"].keys() == {"message", "type", "param", "code"}
        assert value["error"]["message"]
    assert is_loaded(served, 0)


def test_a_body_without_a_length_has_the_same_limit() -> None:
    with running(toy(Scripted("x")), limits=Limits(body=100)) as server:
        connection = http.client.HTTPConnection(server.url.split("/")[2], timeout=PATIENCE)
        chunks = (b"x" * 50 for _ in range(3))
        connection.request("POST", "/v1/completions", chunks, encode_chunked=True)
        answer = connection.getresponse()
        assert answer.status == 400
        assert "limit of 100 bytes" in json.loads(answer.read())["error"]["message"]
        connection.close()


def test_a_full_queue() -> None:
    model = Held(Scripted("x" * ENDLESS))
    with (
        running(toy(model), GenerateConfig(batch_size=1), Limits(queue=0)) as server,
        ThreadPoolExecutor(1) as other,
    ):
        first = other.submit(
            server.client.completions.create, model="toy", prompt="a", max_tokens=3
        )
        until(lambda: is_loaded(server, 1))
        with pytest.raises(openai.RateLimitError, match="no place for 1 more"):
            server.client.completions.create(model="toy", prompt="b", max_tokens=3)
        model.let(3)
        assert first.result(PATIENCE).choices[0].text == "xxx"


# --- the end -------------------------------------------------------------------------------------


def test_a_server_that_ends_finishes_what_runs_and_refuses_the_rest() -> None:
    model = Held(Scripted("x" * ENDLESS))
    with running(toy(model)) as server, ThreadPoolExecutor(1) as other:
        first = other.submit(
            server.client.completions.create, model="toy", prompt="a", max_tokens=3
        )
        until(lambda: is_loaded(server, 1))
        server.server.handle_exit(signal.SIGTERM, None)
        status, value = ask(server, "/v1/completions", {"model": "toy", "prompt": "b"})
        assert (status, value["error"]["code"]) == (503, "shutting_down")
        assert ask(server, "/health") == (503, {"status": "ending", "decoding": 1, "waiting": 0})
        model.let(3)
        assert first.result(PATIENCE).choices[0].text == "xxx"


@pytest.mark.parametrize(
    ("streamed", "drain", "signals"), [(True, 0, 1), (False, 0, 1), (False, 1e9, 2)]
)
def test_what_does_not_finish_in_time_is_told(streamed: bool, drain: float, signals: int) -> None:
    model = Held(Scripted("x" * ENDLESS))

    def read(server: Running) -> None:
        answer = server.client.completions.create(
            model="toy", prompt="a", max_tokens=ENDLESS, stream=streamed
        )
        list(answer)

    with (
        running(toy(model), limits=Limits(drain=drain)) as server,
        ThreadPoolExecutor(1) as other,
    ):
        first = other.submit(read, server)
        until(lambda: is_loaded(server, 1))
        for _ in range(signals):
            server.server.handle_exit(signal.SIGTERM, None)
        with pytest.raises(openai.APIError, match="shutting down"):
            first.result(PATIENCE)
        model.let(ENDLESS)


def test_a_start_that_fails_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def complaint(*arguments: str) -> str:
        assert run(["serve", *arguments]) == 2
        [line] = capsys.readouterr().err.splitlines()
        return line

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1, port {port}" in complaint("--port", port)
    assert "65535" in complaint("--port", "70000")
    assert "queue -1: expected" in complaint("--queue", "-1")
    assert "compat 'dream'" in complaint(
        "--port", "0", "--device", "cpu", "--compat", "dream", "--order", "entropy"
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "diffucode[serve]"' in complaint()


ROW = {
    "contract": "",
    "canonical_solution": "    return sum(nums)\n",
    "base_input": [[[1]]],
    "plus_input": [[[2]]],
    "atol": 0,
    "entry_point": "total",
    "test": "",
}


def test_a_process_serves_evalplus_and_ends_with_a_signal(tmp_path: Path, mini: Any) -> None:
    """SIGTERM while a request runs: it finishes, the next one is refused, the process ends with 0."""
    prompts = {
        f"HumanEval/{i}": PROMPT.replace("even", word) for i, word in enumerate(("even", "odd"))
    }
    problems = tmp_path / "problems.jsonl"
    problems.write_text(
        "".join(json.dumps({"task_id": t, "prompt": p, **ROW}) + "\n" for t, p in prompts.items())
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [
        "-m",
        "diffucode.cli",
        "serve",
        "--model",
        "mini",
        "--device",
        "cpu",
        "--port",
        "0",
        "--drain",
        "300",
    ]
    process = subprocess.Popen(
        [sys.executable, *command], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        said: queue.Queue[str] = queue.Queue()
        assert process.stderr is not None
        threading.Thread(target=lambda: [said.put(x) for x in process.stderr], daemon=True).start()
        line = said.get(timeout=2 * PATIENCE)
        assert line.startswith("diffucode: serving mini at http://127.0.0.1:")
        url = line.split()[-1]
        codegen = [
            "-m",
            "evalplus.codegen",
            "--model",
            "mini",
            "--dataset",
            "humaneval",
            "--greedy",
        ]
        subprocess.run(
            [sys.executable, *codegen, "--backend", "openai", "--base-url", url, "--root", "out"],
            cwd=tmp_path,
            env={**environment, "HUMANEVAL_OVERRIDE_PATH": str(problems)},
            check=True,
            capture_output=True,
            timeout=4 * PATIENCE,
        )
        [written] = (tmp_path / "out" / "humaneval").glob("*temp_0.0.jsonl")
        solutions = {
            r["task_id"]: r["solution"] for r in map(json.loads, written.read_text().splitlines())
        }
        assert solutions.keys() == prompts.keys()
        for task, prompt in prompts.items():
            [done] = alone(mini, prompt)
            # its sanitiser drops comments, docstrings' indentation and blank ends
            assert done.text.strip() in solutions[task]
        with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=PATIENCE) as client:
            more = {"max_new_tokens": 120, "steps": 120, "eos_penalty": 1000.0}
            events = client.completions.create(
                model="mini", prompt=PROMPT, stream=True, extra_body=more
            )
            next(iter(events))
            process.send_signal(signal.SIGTERM)
            with pytest.raises(openai.InternalServerError, match="shutting down"):
                while True:  # until the signal has arrived
                    client.completions.create(model="mini", prompt=PROMPT, max_tokens=1)
            assert list(events)[-1].choices[0].finish_reason == "length"
        assert process.wait(PATIENCE) == 0
        assert said.empty()
    finally:
        process.kill()
        process.communicate()
