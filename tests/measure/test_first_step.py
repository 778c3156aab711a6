"""What a model is sure of before it has written anything."""

import numpy as np
import pytest
import torch

from diffucode.errors import ConfigError
from diffucode.measure.first_step import first_step
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
