"""Raw entropy along an answer."""

from dataclasses import replace

import numpy as np
import pytest
from twice import HEAD, twice

from diffucode.decoding.engine import decode
from diffucode.decoding.order import LeftToRight
from diffucode.decoding.plan import Request, SamplingPlan
from diffucode.measure.entropy import entropies, fork_of
from diffucode.models.load import load
from diffucode.tasks.problem import Reference


@pytest.mark.parametrize("name", ["mini", "mini-ar"])
def test_it_is_that_of_decoding_the_answer_from_left_to_right(name: str) -> None:
    loaded = load(name)
    canvas = loaded.usual.canvas or 0
    prompt = loaded.tokenizer.encode(HEAD)
    request = Request.completion("a", prompt, canvas, SamplingPlan(order=LeftToRight()))
    (done,) = decode(loaded.denoiser, [request], decoder=loaded.decoder)
    written = done.trace.step[len(prompt) :] >= 0
    answer = [int(token) for token in done.tokens[len(prompt) :][written]]
    expected = done.trace.entropy[len(prompt) :][written]
    assert np.allclose(entropies(loaded, prompt, answer, canvas), expected, atol=1e-4)
    assert expected.max() > 0.05


def test_the_fork_is_taken_out_of_the_first_reference() -> None:
    loaded = load("mini-ar")
    problem = twice().problem
    bodies = ["    return 2 * x\n", "    return x + x\n"]
    references = tuple(Reference(body, body, 0.5, True) for body in bodies)
    fork = fork_of(loaded, replace(problem, references=references), 64)
    first, second = (loaded.tokenizer.encode(b, add_special_tokens=False) for b in bodies)
    at = next(i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    along = entropies(
        loaded,
        loaded.tokenizer.encode(HEAD),
        [*first, loaded.denoiser.terminator_ids[0]],
        64,
    )
    assert fork is not None and fork.signature == "twice"
    assert fork.at == pytest.approx(along[at])
    assert list(fork.others) == pytest.approx(along[:at] + along[at + 1 :])
    assert fork_of(loaded, problem, 64) is None
    assert fork_of(loaded, replace(problem, references=references), len(first)) is None
