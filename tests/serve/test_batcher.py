"""The batch of all requests: joining, leaving, limits, failures."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from scripted import TOKENIZER, Scripted
from serving import PATIENCE, Held, toy

from diffucode.generate.job import Job
from diffucode.generate.prompted import Prompt, prepare
from diffucode.generate.settings import GenerateConfig
from diffucode.generate.stream import Completion
from diffucode.protocols import Tree
from diffucode.sampling.temperature import Constant
from diffucode.serve.batcher import Batcher, Done, Event, Failed, Piece, Ticket
from diffucode.serve.failures import Failure
from diffucode.serve.limits import Limits

ENDLESS = 900


class Heard(list[Event]):
    """Events of a ticket."""

    @property
    def text(self) -> str:
        return "".join(event.text for event in self if isinstance(event, Piece))

    @property
    def done(self) -> list[Completion]:
        return [event.completion for event in self if isinstance(event, Done)]

    @property
    def failures(self) -> list[Failure]:
        return [event.failure for event in self if isinstance(event, Failed)]


def jobs(name: str, tokens: int, prompt: str = "p", **settings: Any) -> list[Job]:
    config = GenerateConfig(max_new_tokens=tokens, **settings)
    return list(prepare(toy(Scripted("")), [Prompt(name, prompt)], config).jobs())


@contextmanager
def held(denoiser: Any = None, capacity: int = 2, queue: int = 8) -> Iterator[tuple[Batcher, Held]]:
    model = Held(denoiser or Scripted("x" * ENDLESS))
    with Batcher(toy(model), "diffusion", capacity, Limits(queue=queue)) as batcher:
        try:
            yield batcher, model
        finally:
            model.let(10 * ENDLESS)


def submit(batcher: Batcher, work: list[Job], **more: Any) -> tuple[Ticket, Heard]:
    heard = Heard()
    return batcher.submit(work, heard.append, **more), heard


def test_requests_join_a_batch_that_runs_and_leave_it_as_they_end() -> None:
    with held() as (batcher, model):
        _, first = submit(batcher, jobs("a", 4))
        model.await_call()
        _, second = submit(batcher, jobs("b", 2))
        _, third = submit(batcher, jobs("c", 2))
        assert batcher.load == (1, 2)
        model.let(5)
        assert batcher.wait_until_idle(PATIENCE)
        assert model.rows == [1, 2, 2, 2, 1]  # a | a b | a b | a c | c
        assert [heard.done[0].text for heard in (first, second, third)] == ["xxxx", "xx", "xx"]


def test_a_cancelled_request_frees_its_row_at_the_next_step() -> None:
    with held() as (batcher, model):
        ticket, heard = submit(batcher, jobs("a", ENDLESS))
        model.await_call()
        _, neighbour = submit(batcher, jobs("b", 5))
        _, next_one = submit(batcher, jobs("c", 3))
        model.let(1)
        model.await_call()
        batcher.cancel(ticket)
        model.let(5)
        assert batcher.wait_until_idle(PATIENCE)
        assert model.rows == [1, 2, 2, 2, 2, 1]  # a | a b | b c | b c | b c | b
        assert not heard
        assert (neighbour.done[0].text, next_one.done[0].text) == ("xxxxx", "xxx")


def test_a_cancelled_request_that_waits_is_gone_at_once() -> None:
    with held(capacity=1, queue=1) as (batcher, model):
        submit(batcher, jobs("a", ENDLESS))
        model.await_call()
        ticket, _ = submit(batcher, jobs("b", 3))
        assert batcher.load == (1, 1)
        batcher.cancel(ticket)
        assert batcher.load == (1, 0)
        submit(batcher, jobs("c", 3))


def test_the_limits() -> None:
    with held(capacity=1, queue=2) as (batcher, model):
        submit(batcher, jobs("a", ENDLESS))
        model.await_call()
        submit(batcher, jobs("b", 3))
        with pytest.raises(Failure, match="no place for 2 more") as busy:
            submit(batcher, jobs("c", 3, samples=2))
        assert busy.value.status == 429 and busy.value.headers == {"Retry-After": "1"}
        with pytest.raises(Failure, match="takes at most 3") as never:
            submit(batcher, jobs("d", 3, samples=4))
        assert never.value.status == 400
        submit(batcher, jobs("e", 3))
        batcher.refuse_new()
        with pytest.raises(Failure, match="shutting down") as late:
            submit(batcher, jobs("f", 3))
        assert late.value.status == 503


def test_the_samples_of_a_request_may_be_more_than_rows() -> None:
    with held(capacity=2) as (batcher, model):
        _, heard = submit(batcher, jobs("a", 3, samples=5))
        model.let(9)
        assert batcher.wait_until_idle(PATIENCE)
        assert sorted(e.index for e in heard if isinstance(e, Done)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("backwards", [False, True], ids=["left to right", "right to left"])
def test_pieces_are_the_text_up_to_its_stop(backwards: bool) -> None:
    script = Scripted("one €\n\ntwo", backwards=backwards)
    with held(script) as (batcher, model):
        _, heard = submit(batcher, jobs("a", 20, stop=("\n\nt",)), stops=("\n\nt",))
        model.let(20)
        assert batcher.wait_until_idle(PATIENCE)
        assert heard.text == heard.done[0].text == "one €"
        pieces = [event.text for event in heard if isinstance(event, Piece)]
        assert pieces == (["one €"] if backwards else ["o", "n", "e", " ", "€"])
        assert heard.done[0].finish == "stop"


def test_what_still_runs_is_told_when_it_is_abandoned() -> None:
    with held(capacity=1) as (batcher, model):
        tickets = [submit(batcher, jobs(name, ENDLESS, samples=2))[1] for name in "ab"]
        model.await_call()
        batcher.abandon()
        assert [[failure.status for failure in heard.failures] for heard in tickets] == [[503]] * 2
        model.let(2)
        assert batcher.wait_until_idle(PATIENCE)
        assert len(model.rows) == 1


class Poisoned(Scripted):
    """Fails wherever a row's prompt has the poison in it."""

    poison = TOKENIZER.encode("!", add_special_tokens=False)[0]

    def __call__(self, canvas: Any, *more: Any, **rest: Any) -> Tree:
        if (canvas.tokens_BL == self.poison).any():
            raise ValueError("poison")
        return super().__call__(canvas, *more, **rest)


def test_a_failure_is_that_of_the_request_which_causes_it() -> None:
    with held(Poisoned("x" * ENDLESS), capacity=8) as (batcher, model):
        _, first = submit(batcher, jobs("a", 5), stops=())
        model.await_call()
        model.let(1)
        model.await_call()
        _, bad = submit(batcher, jobs("b", 5, prompt="p!", samples=2))
        _, last = submit(batcher, jobs("c", 3))
        model.let(100)
        assert batcher.wait_until_idle(PATIENCE)
        assert [failure.status for failure in bad.failures] == [500] and not bad.done
        assert first.done[0].text == first.text == "xxxxx"
        assert last.done[0].text == "xxx"
        _, after = submit(batcher, jobs("d", 2))
        assert batcher.wait_until_idle(PATIENCE)
        assert after.done[0].text == "xx"


def test_a_plan_that_fails_is_the_clients_fault() -> None:
    with held() as (batcher, model):
        _, heard = submit(batcher, jobs("a", 5, ban=("#99999",)))
        model.let(1)
        assert batcher.wait_until_idle(PATIENCE)
        assert [failure.status for failure in heard.failures] == [400]
        assert "vocabulary" in str(heard.failures[0])


def test_close_while_requests_run() -> None:
    with held() as (batcher, model):
        _, heard = submit(batcher, jobs("a", ENDLESS))
        model.await_call()
        ender = threading.Thread(target=batcher.__exit__, args=(None, None, None))
        ender.start()
        model.let(ENDLESS)
        ender.join(PATIENCE)
        assert not ender.is_alive()
        assert [failure.status for failure in heard.failures] == [503]
        assert len(model.rows) < ENDLESS


def test_ids_tell_apart_what_draws_alike() -> None:
    """The noise is that of ``noise_id``, not that of the name."""
    config = GenerateConfig(max_new_tokens=20, temperature=5.0)
    [job] = prepare(toy(Scripted("")), [Prompt("prompt", "p")], config).jobs()
    assert job.request.plan.temperature == Constant(5.0)
    twins = [
        replace(job, request=replace(job.request, id=name, noise_id=noise))
        for name, noise in (("a", "prompt"), ("b", "prompt"), ("prompt", None), ("c", "other"))
    ]
    with held(Scripted("x" * 30), capacity=4) as (batcher, model):
        _, heard = submit(batcher, list(twins))
        model.let(20)
        assert batcher.wait_until_idle(PATIENCE)
        texts = {done.id: done.tokens for done in heard.done}
    assert texts["a"] == texts["b"] == texts["prompt"] != texts["c"]  # 260**-20 by chance
