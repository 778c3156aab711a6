"""What a model is sure of before it has written anything."""

from typing import Any

import numpy as np
import pytest
import torch

from diffucode.decoding.trace import Trace, blank
from diffucode.errors import ConfigError, TraceError
from diffucode.generate.traces import TraceFile
from diffucode.measure import first_step as module
from diffucode.measure.first_step import first_step, first_steps
from diffucode.models.load import load


def test_it_is_what_the_stock_forward_says_of_masks_behind_the_prompt() -> None:
    loaded = load("mini")
    mask, canvas = loaded.denoiser.mask_id, 6
    prompts = [[5, 6, 7], [8, 9, 10, 11, 12]]
    found = first_step(loaded, prompts, canvas)
    for p, prompt in enumerate(prompts):
        tokens = torch.tensor([[*prompt, *[mask] * canvas]])
        with torch.no_grad():
            logits_LV = loaded.denoiser.model(input_ids=tokens).logits[0, len(prompt) :].double()
        prob_LV = logits_LV.softmax(-1)
        assert found.confidence_PN[p] == pytest.approx(prob_LV.amax(-1).numpy(), rel=1e-4)
        entropy_L = torch.special.entr(prob_LV).sum(-1).numpy()
        assert found.entropy_PN[p] == pytest.approx(entropy_L, rel=1e-3, abs=1e-5)
    assert found.confidence_PN.shape == (2, canvas) and np.isfinite(found.entropy_PN).all()


def test_an_autoregressive_model_has_no_canvas() -> None:
    with pytest.raises(ConfigError, match="is autoregressive"):
        first_step(load("mini-ar"), [[5, 6]], 4)


def completion(id: str, sample: int, length: int) -> Trace:
    """A prompt of two tokens and so many positions behind it."""
    trace = blank(id, sample, 0, 2, 2 + length, 0)
    trace.given[:2] = True
    return trace


def file_of(*traces: Trace) -> TraceFile:
    return TraceFile("toy", {0: ""}, traces)


def test_first_steps_asks_once_for_each_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def profile(loaded: Any, prompts: Any, canvas: int) -> Any:
        asked.append((prompts, canvas))
        some = np.full((len(prompts), canvas), float(len(asked)))
        return module.FirstStep(some, -some)

    monkeypatch.setattr(module, "first_step", profile)
    traces = [completion(id, n, length) for id, length in (("a", 4), ("b", 3)) for n in (0, 1)]
    found, canvas = first_steps(None, file_of(*traces), "here", batch=1)  # type: ignore[arg-type]
    assert canvas == 3 and asked == [([[0, 0]], 3)] * 2
    assert found.confidence_PN.tolist() == [[1] * 3, [2] * 3]
    assert found.entropy_PN[1, 0] == -2
    hole = completion("c", 0, 3)
    hole.given[-1] = True
    with pytest.raises(TraceError, match="here: c has given text behind a hole"):
        first_steps(None, file_of(hole), "here")  # type: ignore[arg-type]
