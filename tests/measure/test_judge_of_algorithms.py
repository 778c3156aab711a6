"""The judge: leaders and followers, abstentions, answers on disk, a server that fails."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from diffucode.errors import JudgeError
from diffucode.measure.clustering.judge import ATTEMPTS, Endpoint, Judge
from diffucode.measure.clustering.task import Task

TASK = Task("t", "Add the numbers up.", "f", [([1, 2],)])
LOOP = "def f(xs):\n    t = 0\n    for x in xs:\n        t += x\n    return t\n"
RENAMED = LOOP.replace("t", "y").replace("reyurn", "return")
WHILE = "def f(xs):\n    i = t = 0\n    while i < len(xs):\n        t, i = t + xs[i], i + 1\n    return t\n"
HALVES = "def f(xs):\n    m = len(xs) // 2\n    return f(xs[:m]) + f(xs[m:]) if m else sum(xs)\n"
PROGRAMS = [LOOP, HALVES, WHILE, RENAMED, "def f(:"]


class Server:
    """An endpoint whose replies a function gives: a text, or an HTTP status."""

    def __init__(self) -> None:
        self.reply: Callable[[dict[str, Any]], str | int] = by_halves
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append(body)
                server.keys.append(self.headers.get("Authorization"))
                said = server.reply(body) if self.path == "/v1/chat/completions" else 404
                self.send_response(said if isinstance(said, int) else 200)
                self.end_headers()
                if isinstance(said, str):
                    answer = {"choices": [{"message": {"content": said}}]}
                    self.wfile.write(json.dumps(answer).encode() if said != "?" else b"{")

            def log_message(self, *_: Any) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


def by_halves(body: dict[str, Any]) -> str:
    """Same where both programs halve, or neither."""
    text = body["messages"][0]["content"]
    return f"Both add up.\n**VERDICT: {'NEW' if text.count('// 2') == 1 else 'SAME'}**"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def judge(server: Server, folder: Path, seed: int = 0, waits: list[float] | None = None) -> Judge:
    kept = [] if waits is None else waits
    return Judge(Endpoint(server.url, "m", "secret"), folder, seed, kept.append)


def test_programs_of_one_verdict_share_a_label(server: Server, tmp_path: Path) -> None:
    for seed in range(4):
        one = judge(server, tmp_path, seed)
        assert one.labels(TASK, PROGRAMS) == [0, 1, 0, 0, None]
        assert one.abstained == 0
    assert {request["temperature"] for request in server.requests} == {0}
    assert set(server.keys) == {"Bearer secret"}
    text = server.requests[0]["messages"][0]["content"]
    assert TASK.statement in text and text.index("<first>") < text.index("<second>")


def test_what_was_answered_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    first, again = judge(server, tmp_path), judge(server, tmp_path)
    labels = first.labels(TASK, PROGRAMS)
    asked = len(server.requests)
    assert first.asked == asked in (2, 3) and first.cached == 0
    assert again.labels(TASK, PROGRAMS) == labels
    assert (again.asked, again.cached) == (0, asked) and len(server.requests) == asked
    file = next(tmp_path.iterdir())
    file.write_text("{")  # spoilt: it is asked again
    assert judge(server, tmp_path).labels(TASK, PROGRAMS) == labels
    assert len(server.requests) == asked + 1
    other = Judge(Endpoint(server.url, "another"), tmp_path)
    other.labels(TASK, PROGRAMS)
    assert other.cached == 0


def test_a_killed_run_goes_on(server: Server, tmp_path: Path) -> None:
    server.reply = lambda body: by_halves(body) if len(server.requests) == 1 else 500
    with pytest.raises(JudgeError, match=f"no answer after {ATTEMPTS} requests"):
        judge(server, tmp_path).labels(TASK, PROGRAMS)
    server.reply = by_halves
    one = judge(server, tmp_path)
    assert one.labels(TASK, PROGRAMS) == [0, 1, 0, 0, None]
    assert one.cached == 1


def test_a_reply_without_a_verdict_is_an_abstention_and_no_new_algorithm(
    server: Server, tmp_path: Path
) -> None:
    server.reply = lambda body: "Hard to say."
    one = judge(server, tmp_path)
    labels = one.labels(TASK, PROGRAMS)
    assert set(labels) == {0, None}  # the leader, which may be the one that stands there twice
    assert labels.count(None) in (3, 4) and one.abstained == 2
    assert [len(request["messages"]) for request in server.requests] == [1, 3, 1, 3]


def test_asking_again_can_bring_a_verdict(server: Server, tmp_path: Path) -> None:
    server.reply = lambda body: "Hm." if len(body["messages"]) == 1 else by_halves(body)
    one = judge(server, tmp_path)
    assert one.labels(TASK, PROGRAMS) == [0, 1, 0, 0, None]
    assert one.abstained == 0


def test_a_server_that_is_busy_or_talks_nonsense_is_asked_again(
    server: Server, tmp_path: Path
) -> None:
    bad: list[str | int] = [429, 503, "?"]
    server.reply = lambda body: bad.pop() if bad else by_halves(body)
    waits: list[float] = []
    assert judge(server, tmp_path, 0, waits).labels(TASK, PROGRAMS) == [0, 1, 0, 0, None]
    assert waits == [1.0, 2.0, 4.0]


def test_a_refusal_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    server.reply = lambda body: 401
    with pytest.raises(JudgeError, match="HTTP 401"):
        judge(server, tmp_path).labels(TASK, PROGRAMS)
    assert len(server.requests) == 1
    with pytest.raises(JudgeError, match="expected a URL"):
        Judge(Endpoint("localhost:8000", "m"), tmp_path)
