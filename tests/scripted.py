"""A model that knows what it will write: for tests of everything around the decoder."""

from collections.abc import Sequence

import torch

from diffucode.decoding.canvas import Canvas
from diffucode.models.head import read_out
from diffucode.models.toy import tiny_tokenizer
from diffucode.protocols import Cache, Positions, Readout, Then, Tree

TOKENIZER = tiny_tokenizer()
END = TOKENIZER.convert_tokens_to_ids("<|im_end|>")
MASK = TOKENIZER.convert_tokens_to_ids("<|mask|>")


def ids(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


class Scripted:
    """Writes ``script`` from the answer's start and END after it; surest on the left, or on the right."""

    def __init__(
        self, script: str | Sequence[int], *, causal: bool = False, backwards: bool = False
    ) -> None:
        self.script = ids(script) if isinstance(script, str) else list(script)
        self.vocab_size = len(TOKENIZER)
        self.terminator_ids = (END,)
        self.mask_id = None if causal else MASK
        self.causal = causal
        self.device = torch.device("cpu")
        self.backwards = backwards

    def empty_cache(self, rows: int) -> Cache | None:
        return None

    def __call__(
        self,
        canvas: Canvas,
        ask: Positions,
        readout: Readout,
        *,
        then: Then | None = None,
        cache: Cache | None = None,
    ) -> Tree:
        offset_N = ask.col_N - canvas.start_B[ask.row_N]
        length = canvas.shape[1]
        sure_N = 10 + (offset_N if self.backwards else length - offset_N) / length

        def head(n: torch.Tensor) -> torch.Tensor:
            logits_nV = torch.zeros(len(n), self.vocab_size)
            for i, where in enumerate(n.tolist()):
                at = int(offset_N[where])
                wanted = self.script[at] if at < len(self.script) else END
                logits_nV[i, wanted] = sure_N[where]
            return logits_nV

        return read_out(torch.arange(len(ask)), head, readout, then, 1024)
